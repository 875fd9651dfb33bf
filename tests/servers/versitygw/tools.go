//go:build tools

// Package tools keeps the command that tests/servers/fetch builds among the requirements of go.mod.
package tools

import (
	_ "github.com/versity/versitygw/cmd/versitygw"
)
