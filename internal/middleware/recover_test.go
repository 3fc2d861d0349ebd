package middleware_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"docket/internal/middleware"
)

// buffer can be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestAPanicIsLoggedAndAnswered(t *testing.T) {
	t.Parallel()
	var text buffer
	counted := 0
	count := func() { counted++ }
	h := middleware.RequestID(middleware.Recover(slog.New(slog.NewTextHandler(&text, nil)), count, failed)(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret of the panic") })))
	w := serve(t, h, "/", "X-Request-Id: mine")
	if w.Code != http.StatusTeapot || strings.TrimSpace(w.Body.String()) != middleware.ErrPanic.Error() {
		t.Errorf("the response is %d %s", w.Code, w.Body)
	}
	for _, part := range []string{"level=ERROR", "msg=panic", "request_id=mine", "secret of the panic", "recover_test.go"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the log has no %s: %s", part, &text)
		}
	}
	if counted != 1 {
		t.Errorf("%d panics are counted", counted)
	}
}

func TestAnAbortIsPassedOn(t *testing.T) {
	t.Parallel()
	var text buffer
	counted := 0
	count := func() { counted++ }
	h := middleware.RequestID(middleware.Recover(slog.New(slog.NewTextHandler(&text, nil)), count, failed)(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })))
	defer func() {
		if v := recover(); v != any(http.ErrAbortHandler) || text.String() != "" || counted != 0 {
			t.Errorf("the panic is %v, the log %s", v, &text)
		}
	}()
	serve(t, h, "/")
}

// A response cannot be replaced after its first byte. It is aborted, so that it does not look complete.
func TestAPanicDuringTheResponseAbortsIt(t *testing.T) {
	t.Parallel()
	var text buffer
	counted := 0
	count := func() { counted++ }
	host := httptest.NewUnstartedServer(middleware.RequestID(middleware.Recover(slog.New(slog.NewTextHandler(&text, nil)), count, failed)(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "the first half")
			_ = http.NewResponseController(w).Flush()
			panic("too late")
		}))))
	host.Start()
	defer host.Close()
	response, err := host.Client().Get(host.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); !errors.Is(err, io.ErrUnexpectedEOF) || string(body) != "the first half" {
		t.Errorf("read %q, %v", body, err)
	}
	if !strings.Contains(text.String(), "too late") {
		t.Error("the panic is not in the log")
	}
	if counted != 1 {
		t.Errorf("%d panics are counted", counted)
	}
}
