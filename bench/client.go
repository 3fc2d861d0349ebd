package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// client is who sends requests, and what that takes of the machine.
type client struct {
	name string
	rate float64
	cpu  time.Duration // for one request
}

// clients compares our generator with net/http's client, which vegeta and k6 send their requests with.
func (w *world) clients(p *process, o operation) ([]client, error) {
	conns := w.plan.conns[0]
	ours, err := w.hit(p, o, conns)
	if err != nil {
		return nil, err
	}
	theirs, err := w.netHTTP(p, o, conns)
	return []client{{"bench/load", ours.rate, ours.generator}, {"net/http's client", theirs.rate, theirs.cpu}}, err
}

func (w *world) netHTTP(p *process, o operation, conns int) (client, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: conns, DisableCompression: true}
	defer transport.CloseIdleConnections()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(o.requests[0])))
	if err != nil {
		return client{}, err
	}
	r.URL.Scheme, r.URL.Host = "http", p.addr
	before, err := spent(os.Getpid())
	if err != nil {
		return client{}, err
	}
	var mu sync.Mutex
	var failed error
	var group sync.WaitGroup
	n, began := 0, time.Now()
	for range conns {
		group.Go(func() {
			sent := 0
			r := r.Clone(r.Context())
			var err error
			for ; err == nil && time.Since(began) < w.plan.measure; sent++ {
				err = roundTrip(transport, r, o.status)
			}
			mu.Lock()
			defer mu.Unlock()
			n += sent
			failed = errors.Join(failed, err)
		})
	}
	group.Wait()
	elapsed := time.Since(began)
	after, err := spent(os.Getpid())
	return client{rate: float64(n) / elapsed.Seconds(), cpu: (after - before) / time.Duration(max(1, n))}, errors.Join(failed, err)
}

func roundTrip(transport *http.Transport, r *http.Request, status int) error {
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != status {
		return fmt.Errorf("answered %s", answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
