package due

import (
	"archive/zip"
	_ "embed"
	"errors"
	"io"
	"strings"
	"sync"
	"time"
)

// zoneinfo is the time zone database of the Go release in .go-version. It is embedded here because time.LoadLocation
// prefers the database of the machine: two replicas with different ones would compute different instants.
//
//go:embed zoneinfo.zip
var zoneinfo string

// ErrZone is returned by LoadZone.
var ErrZone = errors.New("due: not a time zone of the IANA database")

// LoadZone returns the time zone of a name of the embedded IANA database, such as Europe/Berlin, whatever zones the
// machine has. It returns ErrZone for all other names, also for Local and the empty one.
func LoadZone(name string) (*time.Location, error) {
	if load, ok := zones()[name]; ok {
		return load(), nil
	}
	return nil, ErrZone
}

// zones returns a function for each zone, which parses it at its first call and keeps it. Other names are not kept, so
// that at most the zones of the database are in memory.
var zones = sync.OnceValue(func() map[string]func() *time.Location {
	archive, err := zip.NewReader(strings.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		panic(err)
	}
	all := make(map[string]func() *time.Location, len(archive.File))
	for _, file := range archive.File {
		all[file.Name] = sync.OnceValue(func() *time.Location { return parseZone(file) })
	}
	return all
})

// parseZone panics if the file is not a zone, which cannot happen with the file that is embedded.
func parseZone(file *zip.File) *time.Location {
	r, err := file.Open()
	if err != nil {
		panic(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	loc, err := time.LoadLocationFromTZData(file.Name, data)
	if err != nil {
		panic(err)
	}
	return loc
}

// maxOffset is more than a clock can be ahead of UTC, in seconds: RFC 8536, 3.2, allows less than 26 hours.
const maxOffset = 26 * 60 * 60

// Instant returns the instant at which clocks in a zone show a day and a time. If they show it twice, it is the first
// instant. If they never show it, it is interpreted with the offset from UTC before the gap: RFC 5545, 3.3.5.
func Instant(d Date, t Time, loc *time.Location) time.Time {
	clock := int64(d)*secondsPerDay + int64(t)*60 // the instant if the offset were zero
	at := time.Unix(clock-maxOffset, 0).In(loc)   // before every instant that it can be
	for {
		_, offset := at.Zone()
		instant := clock - int64(offset)
		// The end is zero if the offset does not change any more. In the years after its table of changes, the time
		// package takes each year for 365 days long, so that on the last day of a leap year the end has passed; no zone
		// changes its offset then.
		_, end := at.ZoneBounds()
		if !end.After(at) || instant < end.Unix() {
			return time.Unix(instant, 0).In(loc)
		}
		if _, offset = end.Zone(); clock-int64(offset) < end.Unix() { // skipped by this change
			return time.Unix(instant, 0).In(loc)
		}
		at = end
	}
}
