package house_test

import (
	"regexp"
	"strings"
	"testing"
)

// unchecked are the tests that take in answers of HTTP by another way than contract.Client and contract.Proxy.
var unchecked = map[string]string{
	"bench/load/load_test.go":         "the answers of a server that the test makes up",
	"cmd/docket/metrics_test.go":      "what Prometheus reads is not in the document",
	"e2e/betterauth/world_test.go":    "Better Auth's answers are not in the document",
	"internal/server/conn_test.go":    "the answers of a handler that the test makes up",
	"internal/server/harness_test.go": "received checks them, those to what no client would send too",
}

var receivingPattern = regexp.MustCompile(`http\.(Get|Head|Post|PostForm|DefaultClient|ReadResponse)\b|http\.(Client|Transport)\{`)

func TestEveryAnswerToATestIsHeldAgainstTheDocument(t *testing.T) {
	t.Parallel()
	for _, name := range files(t) {
		if !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "e2e/") || name == "internal/house/answers_test.go" {
			continue
		}
		found := receivingPattern.FindString(read(t, name))
		if found != "" && unchecked[name] == "" {
			t.Errorf("%s uses %s: use contract.Client(t), which checks what the service answers", name, found)
		}
		if found == "" && unchecked[name] != "" {
			t.Errorf("%s receives nothing: take it out of the table", name)
		}
	}
}
