package load_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"docket/bench/load"
)

// target is a server of this test and one request to it.
func target(t testing.TB, path string, status int, answer http.HandlerFunc) load.Target {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	addr := s.Listener.Addr().String()
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, addr)
	return load.Target{Addr: addr, Requests: [][]byte{[]byte(request)}, Status: status}
}

var short = load.Span{Warm: 20 * time.Millisecond, Measure: 200 * time.Millisecond}

func TestEveryKindOfAnswerIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a word ", 20_000)
	for name, test := range map[string]struct {
		status int
		answer http.HandlerFunc
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
			// What is left over of an answer would be taken for the next one, and fail.
			result, err := load.Closed(target(t, "/", test.status, test.answer), 2, short)
			if err != nil || len(result.Latencies) < 2 {
				t.Errorf("%d answers, error %v", len(result.Latencies), err)
			}
		})
	}
}

func TestAnAnswerOfAnotherStatusEndsTheRunAndIsTold(t *testing.T) {
	t.Parallel()
	to := target(t, "/some/path", 200, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not today", http.StatusTeapot)
	})
	for name, do := range map[string]func() (load.Result, error){
		"closed": func() (load.Result, error) { return load.Closed(to, 4, load.Span{Measure: time.Minute}) },
		"open":   func() (load.Result, error) { return load.Open(to, 4, 100, load.Span{Measure: time.Minute}) },
	} {
		_, err := do()
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		for _, part := range []string{"GET /some/path", "418", "200", "not today"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", name, err, part)
			}
		}
	}
}

func TestAServerThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := load.Closed(load.Target{Addr: "127.0.0.1:1", Requests: [][]byte{nil}}, 1, short); err == nil {
		t.Error("no error")
	}
}

func TestOnlyWhatHappensBetweenBeginAndEndIsCounted(t *testing.T) {
	t.Parallel()
	var served, begun, ended atomic.Int64
	to := target(t, "/", 200, func(http.ResponseWriter, *http.Request) { served.Add(1) })
	result, err := load.Closed(to, 4, load.Span{
		Warm: 50 * time.Millisecond, Measure: 300 * time.Millisecond,
		Begin: func() { begun.Store(served.Load()) },
		End:   func() { ended.Store(served.Load()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	// At both ends one request of every connection may be under way.
	got, want := int64(len(result.Latencies)), ended.Load()-begun.Load()
	if begun.Load() == 0 || got < want-16 || got > want+16 {
		t.Errorf("counted %d, the server %d after %d to warm up", got, want, begun.Load())
	}
	if result.Elapsed < 300*time.Millisecond || result.Rate() < float64(got) {
		t.Errorf("%d in %v are %v a second", got, result.Elapsed, result.Rate())
	}
}

func TestAnOpenRunKeepsItsRateAndCountsTheTimeThatARequestWaited(t *testing.T) {
	t.Parallel()
	// The server answers one request at a time, and the second one late: those behind it wait, and that must show.
	turn := make(chan struct{}, 1)
	var n atomic.Int64
	const stall = 400 * time.Millisecond
	to := target(t, "/", 200, func(http.ResponseWriter, *http.Request) {
		turn <- struct{}{}
		if n.Add(1) == 2 {
			time.Sleep(stall)
		}
		<-turn
	})
	result, err := load.Open(to, 2, 100, load.Span{Measure: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if count := len(result.Latencies); count < 50 || count > 110 {
		t.Errorf("%d requests in a second", count)
	}
	if !slices.IsSorted(result.Latencies) || !slices.IsSorted(result.Late) {
		t.Error("not in order")
	}
	// Of 40 requests that were due during the stall, a closed loop would have sent two.
	waited := 0
	for _, latency := range result.Latencies {
		if latency > stall/4 {
			waited++
		}
	}
	if waited < 20 {
		t.Errorf("only %d requests waited", waited)
	}
}

func TestOneSendsAsManyAsItIsToldOrAsFitIntoTheTime(t *testing.T) {
	t.Parallel()
	to := target(t, "/", 200, func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Millisecond) })
	for _, test := range []struct {
		most        int
		d           time.Duration
		least, want int
	}{
		{4, time.Minute, 4, 4},
		{1, 0, 1, 1},
		{1000, 0, 3, 3},
		{1000, 50 * time.Millisecond, 3, 11},
	} {
		got, err := load.One(to, test.most, test.d)
		if err != nil || len(got) < test.least || len(got) > test.want || got[0] < 5*time.Millisecond {
			t.Errorf("%d in %v took %v, %v", test.most, test.d, got, err)
		}
	}
}

// The generator shares the machine with what it measures, so what it takes of it counts. This compares it with the
// client that most load tools for Go are built on.
func BenchmarkClient(b *testing.B) {
	to := target(b, "/", 200, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") })
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		if _, err := load.One(to, b.N, time.Minute); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("net/http", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			answer, err := http.Get("http://" + to.Addr)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	})
}
