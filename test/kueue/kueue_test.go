package kueue

import (
	"testing"

	"espalier.dev/espalier/test/controlplane"
)

func TestKueueHoldsJobsOfItsQueuesBack(t *testing.T) {
	Need(t)
	Start(t, controlplane.Start(t, controlplane.Options{ControllerManager: true}))
}
