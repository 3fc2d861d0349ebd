package config

import (
	"cmp"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Traces says where traces are sent. It has the values of OpenTelemetry's variables.
type Traces struct {
	Endpoint          string            // URL of the collector; empty: there are no traces
	Headers           map[string]Secret // sent with them
	Gzip              bool
	Timeout           time.Duration // for a batch to be delivered
	Certificate       string        // file with the certificates that the collector's is checked against; empty: the system's
	ClientCertificate string        // file; empty: none
	ClientKey         string        // file
	Sampler           string
	SamplerRatio      float64
	Parent            bool // a request's traceparent is the parent of its span
	ServiceName       string
	Attributes        map[string]string // of the process

	QueueSize, BatchSize int           // in spans
	BatchDelay           time.Duration // after which a batch that is not full is sent

	exporter string
	disabled bool
}

// TraceVariables lists the variables of OpenTelemetry that Docket reads, in the order in which `docket help` and
// docs/operations.md show them. Those after OTEL_SDK_DISABLED are read only if there are traces. One for traces alone
// follows the one for all signals, which it replaces.
var TraceVariables = []Variable{
	{"OTEL_TRACES_EXPORTER", "", "otlp or none; if it is not set, traces are sent if one of the addresses below is set", func(c *Config, v string) error {
		c.Traces.exporter = v
		return oneOf(v, "otlp", "none")
	}},
	{"OTEL_SDK_DISABLED", "false", "true turns traces off", func(c *Config, v string) error {
		c.Traces.disabled = strings.EqualFold(v, "true")
		return oneOf(strings.ToLower(v), "true", "false")
	}},
	{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318", "URL of the collector (OTLP over HTTP), to which v1/traces is added", func(c *Config, v string) error {
		u, err := webURL(v)
		if err == nil {
			c.Traces.Endpoint = u.JoinPath("v1/traces").String()
		}
		return err
	}},
	{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "", "the same for traces alone, used as it is", func(c *Config, v string) error {
		c.Traces.Endpoint = v
		_, err := webURL(v)
		return err
	}},
	{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "http/protobuf, on port 4318 of most collectors; there is no other", otlpProtocol},
	{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "", "the same for traces alone", otlpProtocol},
	{"OTEL_EXPORTER_OTLP_HEADERS", "", "headers to send to the collector, name=value separated by commas, percent-encoded; a secret", otlpHeaders},
	{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "", "the same for traces alone; a secret", otlpHeaders},
	{"OTEL_EXPORTER_OTLP_COMPRESSION", "none", "gzip or none", otlpCompression},
	{"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "", "the same for traces alone", otlpCompression},
	{"OTEL_EXPORTER_OTLP_TIMEOUT", "10000", "milliseconds in which a batch must be delivered", otlpTimeout},
	{"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "", "the same for traces alone", otlpTimeout},
	{"OTEL_EXPORTER_OTLP_CERTIFICATE", "", "file with the certificates (PEM) that the collector's is checked against, if they are not the system's", otlpCertificate},
	{"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "", "the same for traces alone", otlpCertificate},
	{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "", "file with the certificate (PEM) to show to the collector", otlpClientCertificate},
	{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "", "the same for traces alone", otlpClientCertificate},
	{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "", "file with its private key (PEM)", otlpClientKey},
	{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "", "the same for traces alone", otlpClientKey},
	{"OTEL_TRACES_SAMPLER", "parentbased_always_on", "always_on, always_off, traceidratio, or the same after parentbased_: then a traceparent decides if there is one", func(c *Config, v string) error {
		c.Traces.Sampler = v
		return oneOf(v, "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio")
	}},
	{"OTEL_TRACES_SAMPLER_ARG", "1", "share of the requests, from 0 to 1, for traceidratio and parentbased_traceidratio", func(c *Config, v string) (err error) {
		if c.Traces.SamplerRatio, err = strconv.ParseFloat(v, 64); err != nil || !(c.Traces.SamplerRatio >= 0 && c.Traces.SamplerRatio <= 1) {
			return errors.New("must be a number from 0 to 1")
		}
		return nil
	}},
	{"OTEL_PROPAGATORS", "tracecontext,baggage", "tracecontext continues the trace of a request's traceparent, none ignores it; baggage is ignored", func(c *Config, v string) error {
		for part := range strings.SplitSeq(v, ",") {
			part = strings.TrimSpace(part)
			if err := oneOf(part, "tracecontext", "baggage", "none"); err != nil {
				return err
			}
			c.Traces.Parent = c.Traces.Parent || part == "tracecontext"
		}
		return nil
	}},
	{"OTEL_SERVICE_NAME", "docket", "name of the service in traces", func(c *Config, v string) error {
		c.Traces.ServiceName = v
		return nil
	}},
	{"OTEL_RESOURCE_ATTRIBUTES", "", "attributes of the process, name=value separated by commas, percent-encoded", func(c *Config, v string) (err error) {
		c.Traces.Attributes, err = pairs(v)
		return err
	}},
	{"OTEL_BSP_SCHEDULE_DELAY", "5000", "milliseconds after which a batch of spans is sent that is not full", func(c *Config, v string) (err error) {
		c.Traces.BatchDelay, err = milliseconds(v)
		return err
	}},
	{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512", "maximum number of spans in a batch", func(c *Config, v string) error {
		n, err := number(v, 1, 100_000)
		c.Traces.BatchSize = int(n)
		return err
	}},
	{"OTEL_BSP_MAX_QUEUE_SIZE", "2048", "maximum number of spans that wait; others are dropped", func(c *Config, v string) error {
		n, err := number(v, 1, 100_000)
		c.Traces.QueueSize = int(n)
		return err
	}},
}

// traces reads the variables of traces.
func (c *Config) traces(getenv func(string) string) Faults {
	const switches = 2 // OTEL_TRACES_EXPORTER and OTEL_SDK_DISABLED
	faults := c.set(TraceVariables[:switches], getenv)
	on := cmp.Or(c.Traces.exporter, getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")) != ""
	if !on || c.Traces.exporter == "none" || c.Traces.disabled {
		return faults
	}
	faults = append(faults, c.set(TraceVariables[switches:], func(name string) string {
		const all, own = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"
		if signal, found := strings.CutPrefix(name, all); found && !strings.HasPrefix(name, own) && getenv(own+signal) != "" {
			return "" // replaced
		}
		return getenv(name)
	})...)
	if (c.Traces.ClientCertificate == "") != (c.Traces.ClientKey == "") {
		faults = append(faults, "OTEL_EXPORTER_OTLP_CLIENT_KEY: is required with OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, and the other way round")
	}
	c.Traces.BatchSize = min(c.Traces.BatchSize, c.Traces.QueueSize)
	return faults
}

func otlpProtocol(_ *Config, v string) error {
	if v != "http/protobuf" {
		return errors.New("must be http/protobuf, on the collector's port 4318 by default; grpc and http/json are not supported")
	}
	return nil
}

func otlpHeaders(c *Config, v string) error {
	headers, err := pairs(v)
	names := strings.Join(slices.Collect(maps.Keys(headers)), ",")
	if err == nil {
		_, err = headerNames(names)
	}
	c.Traces.Headers = map[string]Secret{}
	for name, value := range headers {
		c.Traces.Headers[name] = Secret(value)
	}
	return err
}

func otlpCompression(c *Config, v string) error {
	c.Traces.Gzip = v == "gzip"
	return oneOf(v, "gzip", "none")
}

func otlpTimeout(c *Config, v string) (err error) {
	c.Traces.Timeout, err = milliseconds(v)
	return err
}

func otlpCertificate(c *Config, v string) error {
	c.Traces.Certificate = v
	return nil
}

func otlpClientCertificate(c *Config, v string) error {
	c.Traces.ClientCertificate = v
	return nil
}

func otlpClientKey(c *Config, v string) error {
	c.Traces.ClientKey = v
	return nil
}

// pairs reads name=value, separated by commas and percent-encoded. The error contains no value, as it may be a secret.
func pairs(v string) (map[string]string, error) {
	all := map[string]string{}
	for part := range strings.SplitSeq(v, ",") {
		name, value, found := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || name == "" || err != nil || value != "" && plain(value) != nil {
			return nil, errors.New("must be name=value, separated by commas and percent-encoded")
		}
		all[name] = value
	}
	return all, nil
}

func milliseconds(v string) (time.Duration, error) {
	n, err := number(v, 1, 3_600_000)
	return time.Duration(n) * time.Millisecond, err
}
