package load_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"docket/bench/load"
)

// target starts a server for the test and returns one request to it.
func target(t *testing.T, status int, handler http.HandlerFunc) load.Target {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	request := "GET /some/path HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	return load.Target{Addr: s.Listener.Addr().String(), Requests: [][]byte{[]byte(request)}, Status: status}
}

func TestAnswersAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a word ", 20_000)
	for name, test := range map[string]struct {
		status  int
		handler http.HandlerFunc
	}{
		"with a length": {200, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			_, _ = io.WriteString(w, text)
		}},
		"in chunks": {200, func(w http.ResponseWriter, _ *http.Request) {
			for part := range strings.SplitAfterSeq(text[:70], " ") {
				_, _ = io.WriteString(w, part)
				w.(http.Flusher).Flush()
			}
		}},
		"empty":        {200, func(http.ResponseWriter, *http.Request) {}},
		"no content":   {204, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }},
		"not modified": {304, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The rest of an answer would be mistaken for the next one.
			if _, err := load.Closed(target(t, test.status, test.handler), 2, load.Span{Warm: 50 * time.Millisecond}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnexpectedStatusEndsTheRun(t *testing.T) {
	t.Parallel()
	to := target(t, 200, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not today", http.StatusTeapot) })
	span := load.Span{Measure: time.Hour}
	for name, send := range map[string]func() (load.Result, error){
		"closed": func() (load.Result, error) { return load.Closed(to, 4, span) },
		"open":   func() (load.Result, error) { return load.Open(to, 4, 100, span) },
	} {
		_, err := send()
		for _, part := range []string{"GET /some/path", "418", "200", "not today"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error is %q without %q", name, err, part)
			}
		}
	}
}

func TestUnreachableServerIsAnError(t *testing.T) {
	t.Parallel()
	_, err := load.Closed(load.Target{Addr: "127.0.0.1:1", Requests: [][]byte{nil}}, 1, load.Span{Measure: time.Hour})
	if err == nil {
		t.Error("no error")
	}
}

func TestWarmingUpIsNotCounted(t *testing.T) {
	t.Parallel()
	var served, begun, ended atomic.Int64
	to := target(t, 200, func(http.ResponseWriter, *http.Request) { served.Add(1) })
	const connections = 4
	result, err := load.Closed(to, connections, load.Span{
		Warm: 50 * time.Millisecond, Measure: 100 * time.Millisecond,
		Begin: func() { begun.Store(served.Load()) },
		End:   func() { ended.Store(served.Load()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	// Each connection may have been waiting for one answer when measuring began.
	if got, most := int64(len(result.Latencies)), ended.Load()-begun.Load()+connections; got > most {
		t.Errorf("%d requests were counted, at most %d were measured", got, most)
	}
}

func TestClosedLoopMeasuresUntilARequestIsAnswered(t *testing.T) {
	t.Parallel()
	to := target(t, 200, func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) })
	if result, err := load.Closed(to, 1, load.Span{Measure: 1}); err != nil || len(result.Latencies) == 0 {
		t.Errorf("%d answers, error %v", len(result.Latencies), err)
	}
}

func TestRequestsAreSentOnceIfTheyAreTo(t *testing.T) {
	t.Parallel()
	var sent [100]atomic.Int64
	to := target(t, 200, func(_ http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[1:])
		sent[n].Add(1)
	})
	to.Requests, to.Once = nil, true
	for n := range sent {
		to.Requests = append(to.Requests, fmt.Appendf(nil, "GET /%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", n))
	}
	if _, err := load.Closed(to, 4, load.Span{Measure: time.Hour}); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("the error after the last request is %v", err)
	}
	for n := range sent {
		if got := sent[n].Load(); got != 1 {
			t.Errorf("request %d was sent %d times", n, got)
		}
	}
}

func TestOpenLoopCountsTheTimeThatRequestsWaited(t *testing.T) {
	t.Parallel()
	// Nothing is answered before the end: a closed loop would send two requests only.
	end := make(chan struct{})
	to := target(t, 200, func(http.ResponseWriter, *http.Request) { <-end })
	const measure, rate = 2 * time.Second, 100
	result, err := load.Open(to, 2, rate, load.Span{Measure: measure, End: func() { close(end) }})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(result.Latencies); n < 3 || n > int(rate*measure.Seconds())+1 {
		t.Errorf("%d requests in %v at %d a second", n, measure, rate)
	}
	if first := slices.Max(result.Latencies); first < measure/2 {
		t.Errorf("the first request waited for %v", first)
	}
	if !slices.IsSorted(result.Latencies) || !slices.IsSorted(result.Late) {
		t.Error("the durations are not sorted")
	}
}
