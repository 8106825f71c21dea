// Carries out, by go-sql-driver/mysql, what tests/clients/conversation.py asks for.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-sql-driver/mysql"
)

type request struct {
	Do         string  `json:"do"`
	SQL        string  `json:"sql"`
	Parameters []any   `json:"parameters"`
	Rows       [][]any `json:"rows"`
}

type failure struct {
	Code    uint16 `json:"code"`
	State   string `json:"state"`
	Message string `json:"message"`
}

// client is one connection, since database/sql's pool must not hand us another one; and for what asks
// for it, another pool that may.
type client struct {
	pool       *sql.DB
	connection *sql.Conn
	local      *sql.Tx
	shared     *sql.DB
}

func main() {
	one := &client{}
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return
		}
		var asked request
		decoder := json.Unmarshal(line, &asked)
		if decoder != nil {
			panic(decoder)
		}
		answer, err := one.carryOut(asked)
		if err != nil {
			answer = map[string]any{"error": told(err)}
		}
		if err := answers.Encode(answer); err != nil {
			panic(err)
		}
	}
}

func (c *client) carryOut(asked request) (map[string]any, error) {
	switch asked.Do {
	case "connect":
		return done(c.connect(os.Args[1] == "text"))
	case "begin":
		local, err := c.connection.BeginTx(context.Background(), nil)
		c.local = local
		return done(err)
	case "commit":
		return done(c.end((*sql.Tx).Commit))
	case "rollback":
		return done(c.end((*sql.Tx).Rollback))
	case "execute":
		return c.execute(asked.SQL, asked.Parameters)
	case "batch":
		return c.batch(asked.SQL, asked.Rows)
	case "query":
		return c.query(asked.SQL, asked.Parameters)
	case "digest":
		return c.digest(asked.SQL, asked.Parameters)
	case "pooled":
		return c.pooled(asked.SQL, asked.Parameters)
	}
	return nil, fmt.Errorf("unknown request %q", asked.Do)
}

func (c *client) connect(interpolate bool) error {
	if c.pool != nil {
		c.pool.Close()
	}
	c.local = nil
	pool, err := opened(interpolate)
	if err != nil {
		return err
	}
	c.pool = pool
	c.connection, err = c.pool.Conn(context.Background())
	return err
}

func opened(interpolate bool) (*sql.DB, error) {
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", os.Getenv("DB_HOST")+":"+os.Getenv("DB_PORT")
	config.User, config.Passwd, config.DBName = os.Getenv("DB_USER"), os.Getenv("DB_PASSWORD"), os.Getenv("DB_SCHEMA")
	config.InterpolateParams = interpolate
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (c *client) end(how func(*sql.Tx) error) error {
	local := c.local
	c.local = nil
	if local == nil { // a commit that failed has ended it
		return nil
	}
	return how(local)
}

func (c *client) execute(text string, parameters []any) (map[string]any, error) {
	result, err := c.connection.ExecContext(context.Background(), text, values(parameters)...)
	if err != nil {
		return nil, err
	}
	affected, _ := result.RowsAffected()
	id, _ := result.LastInsertId()
	return map[string]any{"affected": affected, "id": id}, nil
}

// batch executes one prepared statement many times: this driver has no batches.
func (c *client) batch(text string, rows [][]any) (map[string]any, error) {
	statement, err := c.connection.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	defer statement.Close()
	counts := []int64{}
	for _, row := range rows {
		result, err := statement.Exec(values(row)...)
		if err != nil {
			return nil, err
		}
		affected, _ := result.RowsAffected()
		counts = append(counts, affected)
	}
	return map[string]any{"affected": counts}, nil
}

func (c *client) query(text string, parameters []any) (map[string]any, error) {
	found, err := c.connection.QueryContext(context.Background(), text, values(parameters)...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return nil, err
	}
	rows := [][]*string{}
	for found.Next() {
		row := make([]*string, len(columns))
		places := make([]any, len(columns))
		for index := range row {
			places[index] = &row[index]
		}
		if err := found.Scan(places...); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return map[string]any{"rows": rows}, found.Err()
}

// digest tells of one large cell by its length and its hash.
func (c *client) digest(text string, parameters []any) (map[string]any, error) {
	var data []byte
	found := c.connection.QueryRowContext(context.Background(), text, values(parameters)...)
	if err := found.Scan(&data); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	return map[string]any{"bytes": len(data), "sha256": hex.EncodeToString(sum[:])}, nil
}

// pooled changes rows in a local transaction on whatever connection the pool gives.
func (c *client) pooled(text string, parameters []any) (map[string]any, error) {
	if c.shared == nil {
		shared, err := opened(os.Args[1] == "text")
		if err != nil {
			return nil, err
		}
		shared.SetMaxOpenConns(1)
		c.shared = shared
	}
	local, err := c.shared.Begin()
	if err != nil {
		return nil, err
	}
	result, err := local.Exec(text, values(parameters)...)
	if err != nil {
		local.Rollback()
		return nil, err
	}
	affected, _ := result.RowsAffected()
	return map[string]any{"affected": affected}, local.Commit()
}

func values(parameters []any) []any {
	given := make([]any, len(parameters))
	for index, each := range parameters {
		switch value := each.(type) {
		case float64:
			given[index] = int64(value)
		case map[string]any:
			data, err := base64.StdEncoding.DecodeString(value["base64"].(string))
			if err != nil {
				panic(err)
			}
			given[index] = data
		default:
			given[index] = value
		}
	}
	return given
}

func done(err error) (map[string]any, error) {
	return map[string]any{"done": true}, err
}

func told(err error) failure {
	var said *mysql.MySQLError
	if errors.As(err, &said) {
		return failure{said.Number, string(said.SQLState[:]), said.Message}
	}
	return failure{0, "", err.Error()}
}
