package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// DefaultTimeout is the time limit of a request that belongs to no operation.
const DefaultTimeout = 10 * time.Second

// Policy is how an operation is served. It is part of the operation in the document, as the extension x-policy:
//
//	x-policy:
//	  timeout: 10s      # a duration, or none for a stream without an end
//	  body: 64KiB       # KiB or MiB; of an operation with a request body, and of no other
//	  admission: owner  # or none: not counted, for probes and for streams that are idle most of the time
//	  compress: true    # optional: a large success is compressed where the client accepts it
//	  stream: true      # optional: the response is written for as long as it takes
//
// Media types are those of the operation's request body and responses.
type Policy struct {
	Timeout   time.Duration // for a whole request; 0: none
	Body      int64         // most bytes of the request body; 0: the operation takes none
	Admission Admission
	Compress  bool
	Stream    bool // the time limit ends the work on the request, and not the writing of the response
}

// Admission is the class of admission control that an operation belongs to.
type Admission string

// The classes of admission control.
const (
	AdmissionNone  Admission = "none"  // always admitted
	AdmissionOwner Admission = "owner" // counted, all together and for the owner
)

// policyOf reads the policy of an operation. It returns an error if the policy is missing or incomplete or has an
// unknown part, so that no operation is served with an accidental policy.
func policyOf(def *openapi3.Operation) (p Policy, err error) {
	var said struct {
		Timeout, Body    string
		Admission        Admission
		Compress, Stream bool
	}
	text, err := json.Marshal(def.Extensions["x-policy"])
	if err != nil || string(text) == "null" {
		return p, errors.New("the document has no x-policy for it")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&said); err != nil {
		return p, fmt.Errorf("x-policy: %w", err)
	}
	p = Policy{Admission: said.Admission, Compress: said.Compress, Stream: said.Stream}
	if said.Timeout != "none" {
		if p.Timeout, err = time.ParseDuration(said.Timeout); err != nil || p.Timeout <= 0 {
			return p, fmt.Errorf("x-policy: timeout %q is neither a duration nor none", said.Timeout)
		}
	}
	if said.Body != "" {
		if p.Body, err = parseSize(said.Body); err != nil {
			return p, fmt.Errorf("x-policy: body %q is not a size in KiB or MiB", said.Body)
		}
	}
	switch {
	case p.Timeout == 0 && !p.Stream:
		return p, errors.New("x-policy: only a stream may have no timeout")
	case p.Stream && p.Compress:
		return p, errors.New("x-policy: a stream is not compressed")
	case p.Admission != AdmissionNone && p.Admission != AdmissionOwner:
		return p, errors.New("x-policy: admission must be owner or none")
	case (p.Body > 0) != (def.RequestBody != nil):
		return p, errors.New("x-policy: body must be the limit of a request body, where there is one")
	}
	return p, nil
}

func parseSize(text string) (int64, error) {
	number, isMiB := strings.CutSuffix(text, "MiB")
	number, isKiB := strings.CutSuffix(number, "KiB")
	n, err := strconv.ParseUint(number, 10, 16)
	switch {
	case err != nil || isMiB == isKiB || n == 0:
		return 0, errors.New("no size")
	case isMiB:
		return int64(n) << 20, nil
	}
	return int64(n) << 10, nil
}
