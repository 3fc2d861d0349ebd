// Package docket holds the contract, byte for byte as it stands in openapi.yaml.
package docket

import _ "embed"

// OpenAPI is the text of openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte
