package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	_ "github.com/go-sql-driver/mysql"
)

// target is where the work goes.
type target struct {
	dsn, url      string
	rows          int
	prepared, hot bool
	xids          []string
}

// work is one kind of load; queries is how many statements a unit of it sends.
type work struct {
	queries int
	begin   func(ctx context.Context, to target, number int) (once, error)
}

var works = map[string]work{
	"point":     {1, point},
	"readwrite": {20, readWrite},
	"local":     {6, local},
	"auto":      {1, auto},
	"insert":    {1, insert},
	"order":     {3, order},
	"call":      {1, call},
}

// serial numbers rows that are inserted, apart from those of other runs: two that begin a millisecond
// after one another have a million numbers each.
var serial atomic.Int64

func init() { serial.Store(time.Now().UnixMicro() << 10) }

// runner is a connection, or a local transaction on it.
type runner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func connect(ctx context.Context, to target) (*sql.Conn, error) {
	pool, err := sql.Open("mysql", dsn(to.dsn, to.prepared))
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	return pool.Conn(ctx)
}

func dsn(plain string, prepared bool) string {
	return fmt.Sprintf("%s?interpolateParams=%t", plain, !prepared)
}

func (to target) hint(number int) string {
	if len(to.xids) == 0 {
		return ""
	}
	return "/*+ XID('" + to.xids[number%len(to.xids)] + "') */ "
}

func read(ctx context.Context, on runner, query string, args ...any) error {
	rows, err := on.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// inLocal does steps in a local transaction, which it ends either way.
func inLocal(ctx context.Context, on *sql.Conn, steps func(runner) error) error {
	tx, err := on.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := steps(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// point is sysbench's oltp_point_select.
func point(ctx context.Context, to target, _ int) (once, error) {
	conn, err := connect(ctx, to)
	return func(ctx context.Context, random *rand.Rand) error {
		return read(ctx, conn, "SELECT c FROM sbtest1 WHERE id=?", 1+random.IntN(to.rows))
	}, err
}

// readWrite is sysbench's oltp_read_write; each client has the rows of its own number to delete.
func readWrite(ctx context.Context, to target, number int) (once, error) {
	conn, err := connect(ctx, to)
	return func(ctx context.Context, random *rand.Rand) error {
		return inLocal(ctx, conn, func(tx runner) error {
			id := func() int { return 1 + random.IntN(to.rows) }
			for range 10 {
				if err := read(ctx, tx, "SELECT c FROM sbtest1 WHERE id=?", id()); err != nil {
					return err
				}
			}
			for _, query := range []string{
				"SELECT c FROM sbtest1 WHERE id BETWEEN ? AND ?",
				"SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN ? AND ?",
				"SELECT c FROM sbtest1 WHERE id BETWEEN ? AND ? ORDER BY c",
				"SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN ? AND ? ORDER BY c",
			} {
				from := id()
				if err := read(ctx, tx, query, from, from+99); err != nil {
					return err
				}
			}
			mine := id()/64*64 + number%64 + 1
			for _, step := range []struct {
				query string
				args  []any
			}{
				{"UPDATE sbtest1 SET k=k+1 WHERE id=?", []any{mine}},
				{"UPDATE sbtest1 SET c=? WHERE id=?", []any{strings.Repeat("0123456789-", 10), mine}},
				{"DELETE FROM sbtest1 WHERE id=?", []any{mine}},
				{"INSERT INTO sbtest1 (id, k, c, pad) VALUES (?, ?, ?, ?)", []any{mine, mine, "c", "pad"}},
			} {
				if _, err := tx.ExecContext(ctx, step.query, step.args...); err != nil {
					return err
				}
			}
			return nil
		})
	}, err
}

// local is a local transaction of four statements that AT would undo.
func local(ctx context.Context, to target, number int) (once, error) {
	conn, err := connect(ctx, to)
	hint := to.hint(number)
	return func(ctx context.Context, _ *rand.Rand) error {
		return inLocal(ctx, conn, func(tx runner) error {
			id := serial.Add(1)
			for _, step := range []struct {
				query string
				args  []any
			}{
				{"INSERT " + hint + "INTO moved (id, item, amount) VALUES (?, ?, 1)", []any{id, number + 1}},
				{"UPDATE " + hint + "item SET amount = amount - 1 WHERE id = ?", []any{number + 1}},
				{"UPDATE " + hint + "item SET sold = sold + 1 WHERE id = ?", []any{number + 1001}},
				{"UPDATE " + hint + "moved SET amount = 2 WHERE id = ?", []any{id}},
			} {
				if _, err := tx.ExecContext(ctx, step.query, step.args...); err != nil {
					return err
				}
			}
			return nil
		})
	}, err
}

// auto is one such statement that commits by itself.
func auto(ctx context.Context, to target, number int) (once, error) {
	conn, err := connect(ctx, to)
	query := "UPDATE " + to.hint(number) + "item SET amount = amount - 1 WHERE id = ?"
	return func(ctx context.Context, _ *rand.Rand) error {
		_, err := conn.ExecContext(ctx, query, number+1)
		return err
	}, err
}

// insert is one that makes a row of its own.
func insert(ctx context.Context, to target, number int) (once, error) {
	conn, err := connect(ctx, to)
	query := "INSERT " + to.hint(number) + "INTO moved (id, item, amount) VALUES (?, ?, 1)"
	return func(ctx context.Context, _ *rand.Rand) error {
		_, err := conn.ExecContext(ctx, query, serial.Add(1), number)
		return err
	}, err
}

// order asks the order sample's application, as its clients do.
func order(_ context.Context, to target, number int) (once, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: time.Minute}
	wanted := http.StatusOK
	if strings.HasSuffix(to.url, "create2") {
		wanted = http.StatusBadRequest
	}
	return func(ctx context.Context, random *rand.Rand) error {
		product := number + 1
		if to.hot {
			product = 1 + random.IntN(to.rows)
		}
		address := fmt.Sprintf("%s?product=%d", to.url, product)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != wanted {
			err = fmt.Errorf("%d: %s", answer.StatusCode, body)
		}
		return err
	}, nil
}

// call asks an application for a short answer, and sends it as much.
func call(_ context.Context, to target, _ int) (once, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: time.Minute}
	return func(ctx context.Context, _ *rand.Rand) error {
		body := strings.NewReader("{\"product\": 1, \"amount\": 2}")
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, body)
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = errors.New(answer.Status)
		}
		return err
	}, nil
}
