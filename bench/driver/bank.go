package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	debitNow  = "UPDATE account SET available = available - 1 WHERE id = ? AND available >= 1"
	giveBack  = "UPDATE account SET available = available + 1 WHERE id = ?"
	reserve   = "UPDATE account SET available = available - 1, reserved = reserved + 1 WHERE id = ? AND available >= 1"
	spend     = "UPDATE account SET reserved = reserved - 1 WHERE id = ?"
	unreserve = "UPDATE account SET available = available + 1, reserved = reserved - 1 WHERE id = ?"
)

// moves are what each path of a bank does; one statement, which is one local transaction.
var moves = map[string]string{
	"/plain":           debitNow,
	"/tcc/try":         reserve,
	"/tcc/confirm":     spend,
	"/tcc/cancel":      unreserve,
	"/saga/step":       debitNow,
	"/saga/ordered":    debitNow,
	"/saga/compensate": giveBack,
}

// bank is an application with accounts, and one that asks two banks for a payment of one each.
type bank struct {
	accounts *sql.DB
	banks    []string
	client   *http.Client
}

func serveBank(arguments []string) error {
	flags := flag.NewFlagSet("bank", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "where requests come in")
	accounts := flags.String("accounts", "", "the database, as go-sql-driver reads it")
	banks := flags.String("banks", "", "with a comma, where the two banks are that payments are made from")
	connections := flags.Int("connections", 64, "at most so many to the database, and to each bank")
	_ = flags.Parse(arguments)
	pool, err := sql.Open("mysql", dsn(*accounts, false))
	if err != nil {
		return err
	}
	pool.SetMaxOpenConns(*connections)
	pool.SetMaxIdleConns(*connections)
	transport := &http.Transport{MaxIdleConnsPerHost: *connections}
	one := bank{pool, strings.Split(*banks, ","), &http.Client{Transport: transport, Timeout: time.Minute}}
	mux := http.NewServeMux()
	for path, statement := range moves {
		mux.HandleFunc("POST "+path, one.move(statement))
	}
	mux.HandleFunc("POST /pay/plain", one.pay("/plain"))
	mux.HandleFunc("POST /pay/tcc", one.pay("/tcc/try"))
	mux.HandleFunc("POST /pay/saga", one.pay("/saga/step"))
	mux.HandleFunc("POST /pay/ordered", one.pay("/saga/ordered"))
	mux.HandleFunc("POST /local", one.local)
	return http.ListenAndServe(*listen, mux)
}

func (one bank) move(statement string) http.HandlerFunc {
	return func(answer http.ResponseWriter, request *http.Request) {
		account := request.URL.Query().Get("product")
		if err := allocated(one.accounts.ExecContext(request.Context(), statement, account)); err != nil {
			http.Error(answer, err.Error(), http.StatusConflict)
		}
	}
}

// pay asks both banks, one after the other.
func (one bank) pay(path string) http.HandlerFunc {
	return func(answer http.ResponseWriter, request *http.Request) {
		xid, account := request.Header.Get("globaltx-xid"), request.URL.Query().Get("product")
		for _, each := range one.banks {
			if err := one.ask(request.Context(), each+path+"?product="+url.QueryEscape(account), xid); err != nil {
				http.Error(answer, err.Error(), http.StatusConflict)
				return
			}
		}
	}
}

func (one bank) ask(ctx context.Context, address, xid string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return err
	}
	if xid != "" {
		request.Header.Set("globaltx-xid", xid)
	}
	answer, err := one.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d: %s", answer.StatusCode, body)
	}
	return err
}

// local does both moves in one local transaction, as if the two banks were one.
func (one bank) local(answer http.ResponseWriter, request *http.Request) {
	account := request.URL.Query().Get("product")
	tx, err := one.accounts.BeginTx(request.Context(), nil)
	if err == nil {
		defer func() { _ = tx.Rollback() }()
		for range one.banks {
			_, failed := tx.ExecContext(request.Context(), debitNow, account)
			err = errors.Join(err, failed)
		}
		err = errors.Join(err, tx.Commit())
	}
	if err != nil {
		http.Error(answer, err.Error(), http.StatusConflict)
	}
}
