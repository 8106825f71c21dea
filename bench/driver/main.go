// The load of the benchmark, compiled so that it leaves the cores to what is measured.
//
//	driver load  -work NAME ...   sends work from several clients, prints one line of JSON
//	driver serve -listen ADDR ... is the order sample's application, both of its databases in one process
//	driver bank  -listen ADDR ... is an application with accounts, and asks two of its kind for payments
//	driver answer -listen ADDR .. is an application that answers at once, or after a while
//	driver delay -listen ADDR ... passes bytes on, each so much later
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"load": load, "serve": serve, "bank": serveBank, "answer": answer, "delay": delay}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "driver load|serve|bank|answer|delay [flags]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}
