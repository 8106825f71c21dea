package main

import (
	"flag"
	"net"
	"syscall"
	"time"
)

const (
	pieceBytes = 64 * 1024
	// piecesMax bounds what is under way in one direction; a fuller pipe is not read.
	piecesMax = 64
)

type piece struct {
	data []byte
	due  time.Time
}

// delay stands for a network: each direction takes half of the round trip, and order is kept.
func delay(arguments []string) error {
	flags := flag.NewFlagSet("delay", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "where clients come in")
	to := flags.String("to", "", "where they wanted to go")
	roundTrip := flags.Duration("round-trip", 0, "both directions together")
	_ = flags.Parse(arguments)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			server, err := net.Dial("tcp", *to)
			if err != nil {
				_ = client.Close()
				return
			}
			go pass(client, server, *roundTrip/2)
			pass(server, client, *roundTrip/2)
		}()
	}
}

func pass(from, to net.Conn, late time.Duration) {
	pieces := make(chan piece, piecesMax)
	go func() {
		defer close(pieces)
		for {
			buffer := make([]byte, pieceBytes)
			size, err := from.Read(buffer)
			if size > 0 {
				pieces <- piece{buffer[:size], time.Now().Add(late)}
			}
			if err != nil {
				return
			}
		}
	}()
	for each := range pieces {
		wait(each.due)
		if _, err := to.Write(each.data); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	for range pieces { // let the reader end
	}
}

// wait asks the kernel itself: the runtime's own sleep waits in whole milliseconds where nothing else is
// to be done, which made three out of half a one.
func wait(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		pause := syscall.NsecToTimespec(left.Nanoseconds())
		_ = syscall.Nanosleep(&pause, nil) // a signal ends it early: then again
	}
}
