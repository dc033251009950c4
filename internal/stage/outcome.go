package stage

import (
	"context"
	"errors"
	"strings"

	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/walk"
)

// Reasons of a failed outcome, besides those of walk.
const (
	ReasonVersion     = walk.ReasonVersion   // operator and image do not belong together
	ReasonDenied      = "AccessDenied"       // credentials, certificates or a claim's owner are wrong
	ReasonNotFound    = "NotFound"           // there is no such bucket, object or file
	ReasonUnavailable = "StorageUnavailable" // a server or file system cannot be reached
	ReasonDamaged     = "ArtifactDamaged"    // a model in the store is lost or damaged and cannot be made again
	ReasonCache       = "CacheTooSmall"      // model and dataset do not fit the scratch volume
	ReasonSpec        = walk.ReasonInvalidSpec
	ReasonModel       = walk.ReasonInvalidModel
	ReasonDataset     = walk.ReasonInvalidDataset
	ReasonStorage     = "StorageFailed" // such as a full disk
	ReasonTraining    = "TrainingDiverged"
	ReasonMeasurement = "MeasurementFailed" // a program of spec.measurements
	ReasonInterrupted = "Interrupted"       // stopped by SIGTERM, the checkpoint is in the store
	ReasonInternal    = "InternalError"
)

// Reasons are all that an outcome may give.
var Reasons = []string{
	walk.ReasonInputChanged, walk.ReasonResultsLost, ReasonVersion, ReasonDenied, ReasonNotFound, ReasonUnavailable, ReasonDamaged, ReasonCache, ReasonSpec,
	ReasonModel, ReasonDataset, ReasonStorage, ReasonTraining, ReasonMeasurement, ReasonInterrupted, ReasonInternal,
}

// Reason is a word for why a stage failed.
func Reason(err error) string {
	var lost *lostError
	if errors.As(err, &lost) {
		return walk.ReasonResultsLost
	}
	for _, known := range []struct {
		err    error
		reason string
	}{
		{errNoResult, walk.ReasonResultsLost},
		{context.Canceled, ReasonInterrupted}, {ErrInputChanged, walk.ReasonInputChanged}, {errVersion, ReasonVersion}, {errLost, ReasonDamaged},
		{artifact.ErrDenied, ReasonDenied}, {artifact.ErrTooLarge, ReasonCache}, {artifact.ErrTemporary, ReasonUnavailable},
		{artifact.ErrDamaged, ReasonDamaged}, {artifact.ErrNotFound, ReasonNotFound},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	classes := map[fault.Class]string{
		fault.Spec: ReasonSpec, fault.Model: ReasonModel, fault.Dataset: ReasonDataset, fault.Storage: ReasonStorage, fault.Training: ReasonTraining,
		fault.Measurement: ReasonMeasurement,
	}
	if reason, ok := classes[fault.ClassOf(err)]; ok {
		return reason
	}
	return ReasonInternal
}

// maxMessage bounds a failure's message, in bytes: JSON may make six of one.
const maxMessage = 600

// failure is the outcome of an order that failed.
func failure(order *Order, err error) *Outcome {
	message := oneLine(err.Error())
	if reason := Reason(err); reason == ReasonInterrupted {
		message = "stopped before it was done; the next attempt goes on from the last checkpoint: " + message
	}
	outcome := &Outcome{Stage: order.Stage, InputHash: order.InputHash, Reason: Reason(err), Message: shortened(message, maxMessage)}
	var lost *lostError
	if errors.As(err, &lost) {
		outcome.Lost = lost.stages
	}
	return outcome
}

// Refused is the outcome where there is no order to carry out.
func Refused(err error) *Outcome { return failure(&Order{Stage: "unknown"}, err) }

// shortened is a text of valid characters within so many bytes.
func shortened(text string, limit int) string {
	return walk.Truncate(strings.ToValidUTF8(text, "\uFFFD"), limit)
}
