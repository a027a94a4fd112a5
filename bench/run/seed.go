package main

import (
	"context"
	"errors"
)

// seedKeys puts n API keys into the installation's store, without the command line, which would take hours for a million.
func seedKeys(ctx context.Context, in *installation, n int) ([]string, error) {
	return nil, errors.New("not yet")
}
