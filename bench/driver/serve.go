package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	insertMaster = "INSERT %sINTO so_master (sysno, so_id, order_date, buyer_user_sysno, seller_company_code," +
		" receive_division_sysno, receive_address, receive_zip, receive_contact, receive_contact_phone, stock_sysno," +
		" payment_type, so_amt, status, appid, memo) VALUES (?, ?, NOW(), 10001, 'SC001', 110105, 'Street 1', '000001'," +
		" 'Somebody', '18728828296', 1, 1, 6999, 10, 'dk-order', '')"
	insertItem = "INSERT %sINTO so_item (sysno, so_sysno, product_sysno, product_name, cost_price, original_price," +
		" deal_price, quantity) VALUES (?, ?, ?, 'phone', 6799, 6799, 6799, 2)"
	allocate = "UPDATE %sinventory SET available_qty = available_qty - 2, allocated_qty = allocated_qty + 2" +
		" WHERE product_sysno = ? AND available_qty >= 2"
)

var errRefused = errors.New("refused as asked")

// shop is the sample's application.
type shop struct {
	orders, products *sql.DB
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "where requests come in")
	orders := flags.String("orders", "", "the order database")
	products := flags.String("products", "", "the product database")
	prepared := flags.Bool("prepared", false, "prepare statements instead of putting values into the text")
	connections := flags.Int("connections", 64, "at most so many to each database")
	_ = flags.Parse(arguments)
	one := shop{}
	for name, pool := range map[string]**sql.DB{*orders: &one.orders, *products: &one.products} {
		opened, err := sql.Open("mysql", dsn(name, *prepared))
		if err != nil {
			return err
		}
		opened.SetMaxOpenConns(*connections)
		opened.SetMaxIdleConns(*connections)
		*pool = opened
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/order/create", one.handler(nil))
	mux.HandleFunc("POST /v1/order/create2", one.handler(errRefused))
	return http.ListenAndServe(*listen, mux)
}

// answer is an application that gives a short answer to everybody.
func answer(arguments []string) error {
	flags := flag.NewFlagSet("answer", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "where requests come in")
	after := flags.Duration("after", 0, "how long the application takes")
	_ = flags.Parse(arguments)
	return http.ListenAndServe(*listen, http.HandlerFunc(func(to http.ResponseWriter, _ *http.Request) {
		time.Sleep(*after)
		_, _ = io.WriteString(to, "{\"ok\": true}\n")
	}))
}

func (one shop) handler(last error) http.HandlerFunc {
	return func(answer http.ResponseWriter, request *http.Request) {
		product, _ := strconv.Atoi(request.URL.Query().Get("product"))
		err := one.order(request.Context(), request.Header.Get("x-dbpack-xid"), product, last)
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
		}
	}
}

// order is the sample's: two INSERTs in one database, one UPDATE in another. With an xid each local
// transaction is committed at once, since whoever fails later has it undone; without one, an
// application that wants the same must keep both open until the end.
func (one shop) order(ctx context.Context, xid string, product int, last error) error {
	hint := ""
	if xid != "" {
		hint = "/*+ XID('" + xid + "') */ "
	}
	orders, err := one.orders.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = orders.Rollback() }()
	id := serial.Add(1)
	if _, err = orders.ExecContext(ctx, fmt.Sprintf(insertMaster, hint), id, strconv.FormatInt(id, 10)); err != nil {
		return err
	}
	if _, err = orders.ExecContext(ctx, fmt.Sprintf(insertItem, hint), id, id, product); err != nil {
		return err
	}
	if xid == "" && last != nil {
		return one.refused(ctx, product, last)
	}
	if err = orders.Commit(); err != nil {
		return err
	}
	return errors.Join(allocated(one.products.ExecContext(ctx, fmt.Sprintf(allocate, hint), product)), last)
}

// refused does the second half of an order that is given up, by the database's own means.
func (one shop) refused(ctx context.Context, product int, last error) error {
	products, err := one.products.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = products.Rollback() }()
	return errors.Join(allocated(products.ExecContext(ctx, fmt.Sprintf(allocate, ""), product)), last)
}

func allocated(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	if rows, err := result.RowsAffected(); err != nil || rows != 1 {
		return fmt.Errorf("%d rows were allocated: %w", rows, err)
	}
	return nil
}
