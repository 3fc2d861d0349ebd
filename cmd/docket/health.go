package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"docket/internal/config"
)

// healthTimeout is the time within which a service must answer `docket health`. It is longer than the 2 s after which the
// readiness check gives up.
const healthTimeout = 3 * time.Second

// health executes `docket health`: it asks the service that runs with the same environment, such as that of the same
// container, whether it is ready or, with -live, alive.
func health(ctx context.Context, e env) error {
	flags := e.flags("health")
	live := flags.Bool("live", false, "ask whether the process is alive, and not whether it is ready")
	if err := e.parse(flags, 0); err != nil {
		return err
	}
	c, err := config.LoadHealth(e.getenv)
	if err != nil {
		return err
	}
	// MAX_CONNECTIONS does not bound the address of the metrics.
	name, addr := "ADDR", c.Addr
	if c.MetricsAddr != "" {
		name, addr = "METRICS_ADDR", c.MetricsAddr
	}
	addr, err = dialable(addr)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	path, state := "/health/ready", "ready"
	if *live {
		path, state = "/health", "alive"
	}
	if err := ask(ctx, addr, path); err != nil {
		return fmt.Errorf("not %s: %w", state, err)
	}
	fmt.Fprintln(e.stdout, state)
	return nil
}

// dialable returns the address at which this machine reaches a server that listens on addr: loopback if addr is a wildcard.
func dialable(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if strings.Trim(port, "0") == "" {
		return "", errors.New("the system chooses the port, so it is not known here")
	}
	switch ip := net.ParseIP(host); {
	case host == "":
		host = "127.0.0.1" // a wildcard listener accepts IPv4 wherever there is any
	case ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// ask requests a probe. It returns nil if the answer is 200, and otherwise an error of one line that names the checks that
// failed.
func ask(ctx context.Context, addr, path string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	// A transport of its own uses no proxy of the environment and follows no redirect.
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", addr, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	var answer struct {
		Checks map[string]string
		Detail string
	}
	err = json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&answer)
	failed := []string{}
	for _, name := range slices.Sorted(maps.Keys(answer.Checks)) {
		if answer.Checks[name] != "ok" {
			failed = append(failed, name+": "+answer.Checks[name])
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s answers %s", addr, response.Status)
	case len(failed) == 0:
		return errors.New(answer.Detail)
	}
	return errors.New(strings.Join(failed, "; "))
}
