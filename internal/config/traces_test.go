package config_test

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/internal/config"
)

// withTraces is an environment in which traces are on.
var withTraces = minimal.with("OTEL_TRACES_EXPORTER", "otlp")

// traceCases has for each variable a value other than its default, what it results in, and values that are refused.
var traceCases = map[string]struct {
	value   string
	get     func(config.Traces) any
	want    any
	invalid []string
}{
	"OTEL_TRACES_EXPORTER":                         {"otlp", func(c config.Traces) any { return c.Endpoint }, "http://localhost:4318/v1/traces", []string{"console", "zipkin", "OTLP"}},
	"OTEL_SDK_DISABLED":                            {"TRUE", func(c config.Traces) any { return c.Endpoint }, "", []string{"yes", "1"}},
	"OTEL_EXPORTER_OTLP_ENDPOINT":                  {"https://a/b/", func(c config.Traces) any { return c.Endpoint }, "https://a/b/v1/traces", []string{"a:4318", "grpc://a", "https://user:secret@a"}},
	"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":           {"https://a/b/", func(c config.Traces) any { return c.Endpoint }, "https://a/b/", []string{"a:4318"}},
	"OTEL_EXPORTER_OTLP_PROTOCOL":                  {"http/protobuf", func(c config.Traces) any { return c.Endpoint != "" }, true, []string{"grpc", "http/json"}},
	"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL":           {"http/protobuf", func(c config.Traces) any { return c.Endpoint != "" }, true, []string{"grpc", "http/json"}},
	"OTEL_EXPORTER_OTLP_HEADERS":                   {"a=b%2C, c=d", headers, "a:b,, c:d", []string{"secret", "=secret", "a=%zz", "a b=secret", "a=b%0Asecret"}},
	"OTEL_EXPORTER_OTLP_TRACES_HEADERS":            {"e=f=g", headers, "e:f=g", []string{"secret"}},
	"OTEL_EXPORTER_OTLP_COMPRESSION":               {"gzip", func(c config.Traces) any { return c.Gzip }, true, []string{"zstd"}},
	"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION":        {"gzip", func(c config.Traces) any { return c.Gzip }, true, []string{"zstd"}},
	"OTEL_EXPORTER_OTLP_TIMEOUT":                   {"500", func(c config.Traces) any { return c.Timeout }, 500 * time.Millisecond, []string{"0", "10s", "-1"}},
	"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT":            {"500", func(c config.Traces) any { return c.Timeout }, 500 * time.Millisecond, []string{"0", "10s", "-1"}},
	"OTEL_EXPORTER_OTLP_CERTIFICATE":               {"a.pem", func(c config.Traces) any { return c.Certificate }, "a.pem", nil},
	"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE":        {"a.pem", func(c config.Traces) any { return c.Certificate }, "a.pem", nil},
	"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE":        {"a.pem", func(c config.Traces) any { return c.ClientCertificate }, "a.pem", nil},
	"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": {"a.pem", func(c config.Traces) any { return c.ClientCertificate }, "a.pem", nil},
	"OTEL_EXPORTER_OTLP_CLIENT_KEY":                {"a.key", func(c config.Traces) any { return c.ClientKey }, "a.key", nil},
	"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY":         {"a.key", func(c config.Traces) any { return c.ClientKey }, "a.key", nil},
	"OTEL_TRACES_SAMPLER":                          {"parentbased_traceidratio", func(c config.Traces) any { return c.Sampler }, "parentbased_traceidratio", []string{"jaeger_remote", "xray"}},
	"OTEL_TRACES_SAMPLER_ARG":                      {"0.01", func(c config.Traces) any { return c.SamplerRatio }, 0.01, []string{"2", "-0.1", "1%", "NaN"}},
	"OTEL_PROPAGATORS":                             {"none", func(c config.Traces) any { return c.Parent }, false, []string{"b3", "tracecontext,jaeger"}},
	"OTEL_SERVICE_NAME":                            {"tasks", func(c config.Traces) any { return c.ServiceName }, "tasks", nil},
	"OTEL_RESOURCE_ATTRIBUTES":                     {"a=b,c=d%20e", func(c config.Traces) any { return fmt.Sprint(c.Attributes) }, "map[a:b c:d e]", []string{"a", "a=%zz"}},
	"OTEL_BSP_SCHEDULE_DELAY":                      {"100", func(c config.Traces) any { return c.BatchDelay }, 100 * time.Millisecond, []string{"0", "1s"}},
	"OTEL_BSP_MAX_EXPORT_BATCH_SIZE":               {"100", func(c config.Traces) any { return c.BatchSize }, 100, []string{"0", "many"}},
	"OTEL_BSP_MAX_QUEUE_SIZE":                      {"100", func(c config.Traces) any { return []int{c.QueueSize, c.BatchSize} }, []int{100, 100}, []string{"0", "many"}},
}

func headers(c config.Traces) any {
	var all []string
	for name, value := range c.Headers {
		all = append(all, name+":"+value.Reveal())
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestEveryVariableOfTracesIsRead(t *testing.T) {
	t.Parallel()
	for _, v := range config.TraceVariables {
		test, ok := traceCases[v.Name]
		if !ok {
			t.Errorf("%s has no case", v.Name)
			continue
		}
		e := withTraces.with(v.Name, test.value)
		switch { // the certificate needs its key
		case strings.HasSuffix(v.Name, "CLIENT_CERTIFICATE"):
			e = e.with("OTEL_EXPORTER_OTLP_CLIENT_KEY", "a")
		case strings.HasSuffix(v.Name, "CLIENT_KEY"):
			e = e.with("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "a")
		}
		if got := test.get(load(t, e).Traces); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s=%s results in %v, want %v", v.Name, test.value, got, test.want)
		}
		for _, value := range test.invalid {
			if got := faultyVariables(t, withTraces.with(v.Name, value)); !slices.Equal(got, []string{v.Name}) {
				t.Errorf("%s=%s: faults of %v", v.Name, value, got)
			}
			_, err := config.Load(withTraces.with(v.Name, value).get)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%s=%s: the error is %v", v.Name, value, err)
			}
		}
	}
	if len(traceCases) != len(config.TraceVariables) {
		t.Errorf("%d cases for %d variables", len(traceCases), len(config.TraceVariables))
	}
	if got := faultyVariables(t, withTraces.with("OTEL_EXPORTER_OTLP_CLIENT_KEY", "a")); !slices.Equal(got, []string{"OTEL_EXPORTER_OTLP_CLIENT_KEY"}) {
		t.Errorf("a key without a certificate: faults of %v", got)
	}
}

func TestTracesAreOffUnlessTheyAreWanted(t *testing.T) {
	t.Parallel()
	const address, own = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for _, test := range []struct {
		e    environment
		want string // the endpoint
	}{
		{minimal, ""},
		{minimal.with(address, "http://a"), "http://a/v1/traces"},
		{minimal.with(own, "http://b"), "http://b"},
		{minimal.with(address, "http://a", own, "http://b"), "http://b"},
		{minimal.with("OTEL_TRACES_EXPORTER", "otlp"), "http://localhost:4318/v1/traces"},
		{minimal.with("OTEL_TRACES_EXPORTER", "none", address, "http://a"), ""},
		{minimal.with("OTEL_SDK_DISABLED", "true", address, "http://a"), ""},
		{minimal.with("OTEL_SDK_DISABLED", "false", address, "http://a"), "http://a/v1/traces"},
		// What is for other programs or other signals is no fault.
		{minimal.with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_TRACES_SAMPLER", "xray"), ""},
		{minimal.with(address, "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"), "http://a/v1/traces"},
	} {
		if got := load(t, test.e).Traces; got.Endpoint != test.want || (test.want != "") != got.Parent {
			t.Errorf("%v: %+v", test.e, got)
		}
	}
}

func TestHeadersOfTracesAreNotPrinted(t *testing.T) {
	t.Parallel()
	c := load(t, withTraces.with("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"))
	if text := fmt.Sprintf("%v %+v %#v", c, c, c.Traces); strings.Contains(text, "hunter2") || !strings.Contains(text, "[secret]") {
		t.Errorf("printed: %s", text)
	}
}

// TestOperationsDocumentListsEveryVariableOfTraces is like TestOperationsDocumentListsEveryVariable.
func TestOperationsDocumentListsEveryVariableOfTraces(t *testing.T) {
	t.Parallel()
	const file, header = "../../docs/operations.md", "| Variable of OpenTelemetry | Default | Meaning |\n| --- | --- | --- |\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), header)
	if !found {
		t.Fatalf("docs/operations.md has no table with the header %q", header)
	}
	table, _, _ := strings.Cut(after, "\n\n")
	var want strings.Builder
	for _, v := range config.TraceVariables {
		value := v.Default
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", v.Name, value, v.Help)
	}
	if table+"\n" != want.String() {
		t.Errorf("the table in docs/operations.md is not\n%s", &want)
	}
}
