package telemetry

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// TracingConfig says which traces are made and where they are sent. docs/operations.md explains its values.
type TracingConfig struct {
	Endpoint          string            // URL of the collector
	Headers           map[string]string // sent with the traces; secret
	Gzip              bool
	Timeout           time.Duration // for a batch to be delivered; zero means 10 s
	Certificate       string        // file; empty: the system's
	ClientCertificate string        // file; empty: none
	ClientKey         string        // file
	Sampler           string        // zero means parentbased_always_on
	SamplerRatio      float64
	Parent            bool // a request's traceparent is the parent of its span
	ServiceName       string
	Attributes        map[string]string

	QueueSize, BatchSize int           // in spans; zero means 2048 and 512
	BatchDelay           time.Duration // zero means 5 s

	Version string
	Log     *slog.Logger
}

// Tracing makes spans and sends them to a collector. A nil *Tracing makes none.
type Tracing struct {
	tracer    trace.Tracer
	parent    bool
	provider  *sdktrace.TracerProvider
	collector *collector
}

// StartTracing returns a Tracing that delivers its spans in the background until Stop is called. It does not wait for the
// collector. It sets the process's handlers of OpenTelemetry's errors.
func StartTracing(c TracingConfig) (*Tracing, error) {
	out, err := newCollector(c)
	if err != nil {
		return nil, err
	}
	// The SDK would print to standard error, and what it prints may contain values of the environment.
	otel.SetLogger(logr.Discard())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(out.report))
	exporter, err := otlptrace.New(context.Background(), out)
	if err != nil {
		return nil, err
	}
	attributes := []attribute.KeyValue{
		semconv.ServiceVersion(c.Version), semconv.ServiceInstanceID(uuid.NewString()),
	}
	for name, value := range c.Attributes { // replace those above
		attributes = append(attributes, attribute.String(name, value))
	}
	attributes = append(attributes, semconv.ServiceName(cmp.Or(c.ServiceName, c.Attributes[string(semconv.ServiceNameKey)], "docket")))
	process, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(attributes...))
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(process),
		sdktrace.WithSampler(samplerOf(c)),
		sdktrace.WithBatcher(exporter,
			sdktrace.WithMaxQueueSize(cmp.Or(c.QueueSize, sdktrace.DefaultMaxQueueSize)),
			sdktrace.WithMaxExportBatchSize(cmp.Or(c.BatchSize, sdktrace.DefaultMaxExportBatchSize)),
			sdktrace.WithBatchTimeout(cmp.Or(c.BatchDelay, sdktrace.DefaultScheduleDelay*time.Millisecond)),
			sdktrace.WithExportTimeout(out.timeout),
		),
	)
	return &Tracing{provider.Tracer("docket"), c.Parent, provider, out}, nil
}

func samplerOf(c TracingConfig) sdktrace.Sampler {
	switch c.Sampler {
	case "always_on":
		return sdktrace.AlwaysSample()
	case "always_off":
		return sdktrace.NeverSample()
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(c.SamplerRatio)
	case "parentbased_always_off":
		return sdktrace.ParentBased(sdktrace.NeverSample())
	case "parentbased_traceidratio":
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.SamplerRatio))
	}
	return sdktrace.ParentBased(sdktrace.AlwaysSample())
}

// Tracer returns what spans are made with. It is nil if t is.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// Parent reports whether a request's traceparent is the parent of its span.
func (t *Tracing) Parent() bool { return t != nil && t.parent }

// stopTimeout is how long Stop waits for the collector. An orchestrator would kill the process soon after.
const stopTimeout = 3 * time.Second

// Stop delivers the spans that have ended, and returns after stopTimeout at the latest.
func (t *Tracing) Stop() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.collector.report(err)
	}
	t.collector.cancel()
}

// Noticeable is the shortest wait that gets a span of its own.
const Noticeable = time.Millisecond

// Waited adds a span for a wait in a queue that began at start and is over, if it was noticeable or failed.
func (t *Tracing) Waited(ctx context.Context, name, queue string, start time.Time, err error) {
	if t == nil || err == nil && time.Since(start) < Noticeable || !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(start), trace.WithAttributes(attribute.String("docket.queue", queue)))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// reportInterval is the shortest time between two lines about traces that could not be delivered.
const reportInterval = time.Minute

// reports logs errors of tracing at a bounded rate.
type reports struct {
	log *slog.Logger

	mu      sync.Mutex
	last    time.Time
	omitted int // since then
}

// report logs an error. Its text contains no header of the collector's and no URL, see collector.post.
func (r *reports) report(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.omitted++; time.Since(r.last) < reportInterval {
		return
	}
	r.log.Warn("traces are not delivered", slog.Any("cause", err), slog.Int("omitted", r.omitted-1))
	r.last, r.omitted = time.Now(), 0
}
