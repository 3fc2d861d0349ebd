package due

import (
	"maps"
	"slices"
)

// Zoneinfo is the embedded time zone database.
var Zoneinfo = zoneinfo

// ZoneNames returns the names of all zones that LoadZone knows.
func ZoneNames() []string { return slices.Sorted(maps.Keys(zones())) }
