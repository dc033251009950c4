package v1alpha1

import (
	"context"

	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"espalier.dev/espalier/internal/crdtest"
)

// Places of the good manifest by the paths of their schemas. Types that are used in several places are tried in all of them.
var (
	wholePlace    = map[string]string{"": "metadata"}
	specPlace     = map[string]string{"spec": ""}
	locationPlace = map[string]string{"spec.model": "model", "spec.dataset": "dataset", "spec.artifacts": "artifacts"}
	trainingPlace = map[string]string{"spec.training": "training", "spec.stages[].training": "stages.0.training"}
	leafPlace     = map[string]string{"spec.leaf": "leaf", "spec.stages[].quantize": "stages.1.quantize"}
	templatePlace = map[string]string{"spec.template": "template", "spec.stages[].template": "stages.0.template"}
)

// ruleExample is a rule of the schema, an example that breaks it and nothing else, and one that keeps it.
type ruleExample struct {
	places  map[string]string
	below   string // path of the rule's schema below a place
	message string
	// guard is the rule's left-hand side, where it has one: what has to be true of an example for the rule to ask more of it.
	guard              string
	rejected, accepted []edit // paths below a place
	// before is what the examples were, of a rule about changes.
	before []edit
}

// number is an example of a rule about one number.
func number(places map[string]string, path, message string, rejected, accepted any) ruleExample {
	return ruleExample{places: places, below: "." + path, message: message, rejected: []edit{at(path, rejected)}, accepted: []edit{at(path, accepted)}}
}

type object = map[string]any

// vela is a measurement of cycles and bytes, and measuring names it alone.
var (
	vela      = object{"name": "vela", "command": []any{"vela-json"}, "metrics": []any{object{"name": "cycles", "unit": "cycles"}, object{"name": "bytes"}}}
	measuring = at("measurements", []any{vela})
)

// measuringToo names another measurement beside vela.
func measuringToo(other object) edit { return at("measurements", []any{vela, other}) }

const knownMetrics = "a metric is Accuracy, AccuracyDrop, Agreement, AUC, MeanIoU, F1, MeanSquaredError, RelativeError, Sparsity, Clusters, FileBytes, FlashBytes, CompressedBytes, ArenaBytes, Multiplications or LatencyMicros, or one that measurements give, whose names have small letters, digits and _"

var ruleExamples = []ruleExample{
	{
		places: wholePlace, message: "metadata.name must be a DNS label: at most 63 characters, of a-z, 0-9 and -, and no - at either end",
		rejected: []edit{at("name", "a.b")}, accepted: []edit{at("name", strings.Repeat("a", 63))},
	},
	{
		places: locationPlace, message: "s3 applies to s3:// addresses only", guard: "has(self.s3)",
		rejected: []edit{at("uri", "gs://b/m"), at("s3", object{"pathStyle": true})}, accepted: []edit{at("uri", "s3://b/m"), at("s3", object{"pathStyle": true})},
	},
	{
		places: locationPlace, message: "credentialsSecretRef applies to s3://, gs:// and azblob:// addresses only", guard: "has(self.credentialsSecretRef)",
		rejected: []edit{at("uri", "pvc://c/m"), at("credentialsSecretRef", object{"name": "s"})}, accepted: []edit{at("uri", "gs://b/m"), at("credentialsSecretRef", object{"name": "s"})},
	},
	{
		places: locationPlace, below: ".uri", guard: "self.contains('://')",
		message:  "uri must be s3://bucket/key, gs://bucket/key, azblob://container/key, pvc://claim/path, file:///path or a path",
		rejected: []edit{at("uri", "ftp://host/m")}, accepted: []edit{at("uri", "pvc://claim/m")},
	},
	{
		places: locationPlace, below: ".uri", guard: "self.contains('://')", message: "uri must not climb out of its place with ..",
		rejected: []edit{at("uri", "pvc://c/a/../../b")}, accepted: []edit{at("uri", "pvc://c/a..b/..c")},
	},
	{
		places: specPlace, message: "managedBy cannot be changed", before: []edit{at("managedBy", "example.com/one")},
		rejected: []edit{at("managedBy", "example.com/two")}, accepted: []edit{at("managedBy", "example.com/one")},
	},
	{
		places: specPlace, message: "give either stages, what to try, or search, which finds that",
		rejected: []edit{at("search", object{})}, accepted: []edit{at("stages", nil), at("search", object{"minimize": "CompressedBytes"})},
	},
	{
		places: specPlace, message: "a search needs constraints to tell which leaves will do, such as {metric: AccuracyDrop, max: 0.01}", guard: "has(self.search)",
		rejected: []edit{at("stages", nil), at("search", object{}), at("constraints", nil)}, accepted: []edit{at("stages", nil), at("search", object{})},
	},
	{
		places: specPlace, message: "selection applies to stages: of a search, search.minimize says which leaf is taken", guard: "has(self.search)",
		rejected: []edit{at("stages", nil), at("search", object{}), at("selection", object{"strategy": "Best"})}, accepted: []edit{at("stages", nil), at("search", object{})},
	},
	{
		places: specPlace, message: "a search measures its trials beside them, in one Job: leave job out of measurements, or give stages in place of search", guard: "has(self.search) && has(self.measurements)",
		rejected: []edit{at("measurements", []any{object{"name": "cycles", "command": []any{"v"}, "job": object{}}}), at("stages", nil), at("search", object{})}, accepted: []edit{measuring, at("stages", nil), at("search", object{})},
	},
	{
		places: specPlace, message: "a search cannot make every weight zero: Sparsity has a min below 1, such as 0.5", guard: "has(self.search) && has(self.constraints)",
		rejected: []edit{at("stages", nil), at("search", object{}), at("constraints.1", object{"metric": "Sparsity", "min": 1})},
		accepted: []edit{at("stages", nil), at("search", object{}), at("constraints.1", object{"metric": "Sparsity", "min": "0.99"})},
	},
	{
		places: specPlace, message: "a layer has at least 2 clusters: Clusters has a max of 2 or more, such as 16", guard: "has(self.search) && has(self.constraints)",
		rejected: []edit{at("stages", nil), at("search", object{}), at("constraints.1", object{"metric": "Clusters", "max": 1})},
		accepted: []edit{at("stages", nil), at("search", object{}), at("constraints.1", object{"metric": "Clusters", "max": 2})},
	},
	{
		places: specPlace, below: ".search.maxMinutes", message: "must be above 0 and at most 100000",
		rejected: []edit{at("stages", nil), at("search", object{"maxMinutes": 0})}, accepted: []edit{at("stages", nil), at("search", object{"maxMinutes": "0.5"})},
	},
	{
		places: specPlace, below: ".search.minimize", message: "a search makes FileBytes, FlashBytes, CompressedBytes, ArenaBytes, Multiplications or LatencyMicros less, or what a measurement gives: bound other metrics by constraints",
		rejected: []edit{at("stages", nil), at("search", object{"minimize": "AUC"})}, accepted: []edit{at("stages", nil), at("search", object{"minimize": "Multiplications"})},
	},
	{
		places: specPlace, below: ".constraints[]", message: "a constraint needs min or max",
		rejected: []edit{at("constraints.0.max", nil)}, accepted: []edit{at("constraints.0.max", "0.02")},
	},
	{
		places: specPlace, below: ".constraints[]", guard: "self.metric == 'Accuracy' && (has(self.min) || has(self.max))",
		message:  "more of Accuracy, Agreement, AUC, MeanIoU, F1 and Sparsity is better: bound them by min; less of every other metric is: bound it by max",
		rejected: []edit{at("constraints.0", object{"metric": "Accuracy", "max": "0.9"})}, accepted: []edit{at("constraints.0", object{"metric": "Accuracy", "min": "0.9"})},
	},
	{
		places: specPlace, below: ".constraints[]", message: "min must not be above max", guard: "has(self.min) && has(self.max)",
		rejected: []edit{at("constraints.1", object{"metric": "FileBytes", "min": 3, "max": 2})}, accepted: []edit{at("constraints.1", object{"metric": "FileBytes", "min": 2, "max": "2.0"})},
	},
	{
		places: specPlace, below: ".constraints[]", guard: "self.metric == 'AUC' && has(self.min)",
		message:  `Accuracy, AccuracyDrop, Agreement, AUC, MeanIoU, F1 and Sparsity are shares, at most 1: write 0.95 for 95 %`,
		rejected: []edit{at("constraints.0", object{"metric": "AUC", "min": 95})}, accepted: []edit{at("constraints.0", object{"metric": "AUC", "min": 1})},
	},
	{
		places: specPlace, below: ".constraints[]", guard: "has(self.output) && self.output != ''",
		message:  "Sparsity, Clusters, FileBytes, FlashBytes, CompressedBytes, ArenaBytes, Multiplications and LatencyMicros are of the whole model: leave output out",
		rejected: []edit{at("constraints.1", object{"metric": "FileBytes", "max": 2, "output": "box"})}, accepted: []edit{at("constraints.1", object{"metric": "F1", "min": 1, "output": "box"})},
	},
	{
		places: specPlace, below: ".constraints[]", guard: "has(self.confidence)",
		message:  "only Accuracy, AccuracyDrop and Agreement of the main output have a confidence: leave it out, or output",
		rejected: []edit{at("constraints.1", object{"metric": "FileBytes", "max": 2, "confidence": "0.95"})},
		accepted: []edit{at("constraints.1", object{"metric": "Agreement", "min": "0.9", "confidence": "0.95", "output": ""})},
	},
	{
		places: specPlace, below: ".constraints[]", guard: "has(self.output) && self.output != ''", message: "what measurements give is of the whole leaf: leave output out",
		rejected: []edit{measuring, at("constraints.1", object{"metric": "cycles", "max": 2, "output": "box"})},
		accepted: []edit{measuring, at("constraints.1", object{"metric": "cycles", "min": 1, "max": 2, "output": ""}), at("constraints.0", object{"metric": "F1", "min": 1, "output": "box"})},
	},
	{
		places: specPlace, message: "a constraint whose metric begins with a small letter is on one that measurements give: name it there, or write the metric as Accuracy and CompressedBytes are written",
		guard:    "has(self.constraints) && self.constraints.exists(c, c.metric == 'cycles' || c.metric == 'watts')",
		rejected: []edit{measuring, at("constraints.1", object{"metric": "watts", "max": 2})}, accepted: []edit{measuring, at("constraints.1", object{"metric": "cycles", "min": 2})},
	},
	{
		places: specPlace, message: "an objective that begins with a small letter is one that measurements give: name it there, or write the metric as Accuracy and CompressedBytes are written",
		guard:    "has(self.selection) && has(self.selection.objective)",
		rejected: []edit{measuring, at("selection", object{"strategy": "Best", "objective": "watts"})}, accepted: []edit{measuring, at("selection", object{"strategy": "Best", "objective": "bytes"})},
	},
	{
		places: specPlace, message: "minimize that begins with a small letter is of a metric that measurements give: name it there, or write the metric as Accuracy and CompressedBytes are written",
		guard:    "has(self.search) && has(self.search.minimize)",
		rejected: []edit{measuring, at("stages", nil), at("search", object{"minimize": "watts"})}, accepted: []edit{measuring, at("stages", nil), at("search", object{"minimize": "bytes"})},
	},
	{
		places: specPlace, below: ".constraints[].metric",
		message:  knownMetrics,
		rejected: []edit{at("constraints.0", object{"metric": "Flash", "max": 1})}, accepted: []edit{at("constraints.0", object{"metric": "ArenaBytes", "max": 1})},
	},
	{
		places: specPlace, below: ".selection.objective", message: knownMetrics,
		rejected: []edit{at("selection", object{"strategy": "Best", "objective": "Flash"})}, accepted: []edit{at("selection", object{"strategy": "Best", "objective": "FileBytes"})},
	},
	{
		places: specPlace, below: ".measurements[]", message: "unit is that of a measurement's only metric: give every one of metrics its own", guard: "has(self.unit)",
		rejected: []edit{at("measurements", []any{object{"name": "vela", "command": []any{"v"}, "unit": "B", "metrics": []any{object{"name": "bytes"}}}})},
		accepted: []edit{at("measurements", []any{object{"name": "bytes", "command": []any{"v"}, "unit": "B"}})},
	},
	{
		places: specPlace, below: ".measurements[].image", message: "name the image by its digest, such as registry.example.com/vela@sha256:0123…",
		rejected: []edit{at("measurements", []any{object{"name": "vela", "command": []any{"v"}, "image": "registry.example.com/vela:5"}})},
		accepted: []edit{at("measurements", []any{object{"name": "vela", "command": []any{"v"}, "image": "registry.example.com/vela@sha256:" + strings.Repeat("0", 64)}})},
	},
	{
		places: specPlace, below: ".measurements", message: "measurements give at most 6 metrics",
		rejected: []edit{measuringToo(object{"name": "board", "command": []any{"b"}, "metrics": []any{object{"name": "a"}, object{"name": "b"}, object{"name": "c"}, object{"name": "d"}, object{"name": "e"}}})},
		accepted: []edit{measuringToo(object{"name": "board", "command": []any{"b"}, "metrics": []any{object{"name": "a"}, object{"name": "b"}, object{"name": "c"}, object{"name": "d"}}})},
	},
	{
		places: specPlace, below: ".measurements", message: "two measurements give a metric of one name: name one of them otherwise",
		rejected: []edit{measuringToo(object{"name": "cycles", "command": []any{"b"}})}, accepted: []edit{measuringToo(object{"name": "micros", "command": []any{"b"}})},
	},
	{
		places: specPlace, below: ".constraints[].confidence", message: "must be at least 0.5 and below 1, such as 0.95",
		rejected: []edit{at("constraints.0.confidence", 95)}, accepted: []edit{at("constraints.0.confidence", "0.95")},
	},
	{
		places: specPlace, below: ".outputs[]", guard: "has(self.loss) && self.loss == 'None'", message: "an output of loss None is not trained: leave target out",
		rejected: []edit{at("outputs", []any{object{"name": "box", "loss": "None", "target": "y"}})}, accepted: []edit{at("outputs", []any{object{"name": "box", "loss": "None"}})},
	},
	{
		places: specPlace, below: ".outputs[]", guard: "has(self.loss) && self.loss == 'None'", message: "an output of loss None is not trained: leave weight out",
		rejected: []edit{at("outputs", []any{object{"name": "box", "loss": "None", "weight": 2}})}, accepted: []edit{at("outputs", []any{object{"name": "box", "loss": "None"}})},
	},
	{
		places: specPlace, below: ".dataset.augmentation", message: "padding applies with randomCrop only", guard: "has(self.padding)",
		rejected: []edit{at("dataset.augmentation", object{"padding": 2, "randomCrop": false})}, accepted: []edit{at("dataset.augmentation", object{"padding": 2, "randomCrop": true})},
	},
	{
		places: specPlace, below: ".dataset.preprocessing.audio", message: "frames and bands are of features: name LogMel, MFCC or MicroFrontend",
		rejected: []edit{at("dataset.preprocessing", object{"audio": object{"melBands": 40}})},
		accepted: []edit{at("dataset.preprocessing", object{"audio": object{"melBands": 40, "features": "LogMel"}}), at("dataset.preprocessing", object{"audio": object{"samples": 16000}})},
	},
	{
		places: specPlace, below: ".dataset.preprocessing.audio", message: "fftLength, power, logOffset and coefficients are of LogMel and MFCC: MicroFrontend has its own",
		guard:    "has(self.features) && self.features == 'MicroFrontend'",
		rejected: []edit{at("dataset.preprocessing", object{"audio": object{"features": "MicroFrontend", "power": 2}}), at("dataset.preprocessing", object{"audio": object{"features": "MicroFrontend", "coefficients": 10}})},
		accepted: []edit{at("dataset.preprocessing", object{"audio": object{"features": "MicroFrontend", "melBands": 40, "gainControl": false}})},
	},
	{
		places: specPlace, below: ".dataset.preprocessing.audio", message: "gainControl is of MicroFrontend", guard: "has(self.gainControl)",
		rejected: []edit{at("dataset.preprocessing", object{"audio": object{"features": "MFCC", "gainControl": true}}), at("dataset.preprocessing", object{"audio": object{"gainControl": true}})},
		accepted: []edit{at("dataset.preprocessing", object{"audio": object{"features": "MicroFrontend", "gainControl": true}})},
	},
	number(specPlace, "dataset.augmentation.noise", "must be at least 0", "-0.1", "0.1"),
	{
		places: specPlace, below: ".dataset.split", message: "validation and test together must leave something to train on: less than 1", guard: "has(self.validation) && has(self.test)",
		rejected: []edit{at("dataset.split", object{"validation": "0.5", "test": "0.5"})}, accepted: []edit{at("dataset.split", object{"validation": "0.5", "test": "0.49"})},
	},
	number(specPlace, "dataset.split.test", "must be at least 0 and below 1", "-0.1", "0.1"),
	number(specPlace, "dataset.split.validation", "must be at least 0 and below 1", "-0.1", "0.1"),
	{
		places: specPlace, below: ".selection", message: "objective applies to strategy Best only", guard: "has(self.objective)",
		rejected: []edit{at("selection", object{"strategy": "First", "objective": "FileBytes"})}, accepted: []edit{at("selection", object{"strategy": "Best", "objective": "FileBytes"})},
	},
	{
		places: specPlace, below: ".stages", message: "baseline, model and publish are reserved: name the stage otherwise",
		rejected: []edit{at("stages.3", object{"name": "model", "quantize": object{}})}, accepted: []edit{at("stages.3", object{"name": "models", "quantize": object{}})},
	},
	{
		places: specPlace, below: ".stages", message: "from must name a stage of this pipeline, or be model", guard: "self.exists(s, has(s.from) && s.from != 'model')",
		rejected: []edit{at("stages.3.from", "nowhere")}, accepted: []edit{at("stages.3.from", "prune")},
	},
	{
		places: specPlace, below: ".stages", message: "from must name an earlier stage: move that stage up", guard: "self.exists(s, has(s.from) && s.from != 'model')",
		rejected: []edit{at("stages.1.from", "cluster")}, accepted: []edit{at("stages.3.from", "cluster")},
	},
	{
		places: specPlace, below: ".stages", message: "from must name a stage that yields a model: a quantize stage yields only a leaf", guard: "self.exists(s, has(s.from) && s.from != 'model')",
		rejected: []edit{at("stages.3.from", "pqat")}, accepted: []edit{at("stages.3.from", "prune")},
	},
	{
		places: specPlace, below: ".stages[]", message: "exactly one of the fields in [fineTune prune cluster quantize] must be set",
		rejected: []edit{at("stages.1.fineTune", object{})}, accepted: []edit{at("stages.1", object{"name": "other", "fineTune": object{}})},
	},
	number(specPlace, "stages.2.cluster.entropy", "must be at least 0 and at most 1000", -1, "0.5"),
	{
		places: specPlace, below: ".stages[].cluster.rules[]", message: "a rule either skips layers or gives them clusters or entropy",
		rejected: []edit{at("stages.2.cluster.rules", []any{object{"layers": "*", "skip": true, "clusters": 4}})}, accepted: []edit{at("stages.2.cluster.rules", []any{object{"layers": "*", "clusters": 4, "entropy": 2}})},
	},
	{
		places: specPlace, below: ".stages[].cluster.rules[].entropy", message: "must be at least 0 and at most 1000",
		rejected: []edit{at("stages.2.cluster.rules", []any{object{"layers": "*", "entropy": -1}})}, accepted: []edit{at("stages.2.cluster.rules", []any{object{"layers": "*", "entropy": "0.5"}})},
	},
	{
		places: specPlace, below: ".stages[].prune.rules[]", message: "a rule either skips layers or gives them a sparsity, pattern or channels",
		rejected: []edit{at("stages.0.prune.rules", []any{object{"layers": "*", "skip": true, "pattern": "2:4"}})}, accepted: []edit{at("stages.0.prune.rules", []any{object{"layers": "*", "skip": true}})},
	},
	{
		places: specPlace, below: ".stages[].prune.rules[].sparsity", message: "must be at least 0 and below 1",
		rejected: []edit{at("stages.0.prune.rules", []any{object{"layers": "*", "sparsity": 1}})}, accepted: []edit{at("stages.0.prune.rules", []any{object{"layers": "*", "sparsity": "0.99"}})},
	},
	{
		places: specPlace, below: ".stages[].prune", message: "reconstruct chooses all zeros at once: leave schedule out, or write Constant", guard: "has(self.reconstruct)",
		rejected: []edit{at("stages.0.prune", object{"sparsity": "0.5", "reconstruct": true, "schedule": "Polynomial"})}, accepted: []edit{at("stages.0.prune", object{"sparsity": "0.5", "reconstruct": true, "schedule": "Constant"})},
	},
	{
		places: specPlace, below: ".stages[].prune", message: "structure Channels goes with channels, such as 0.25 for a quarter of them taken out, or with multiplications, such as 0.5 for half of them left, and not with both; structure Weights with sparsity",
		rejected: []edit{at("stages.0.prune", object{"structure": "Channels", "channels": "0.5", "multiplications": "0.5"})},
		accepted: []edit{at("stages.0.prune", object{"structure": "Channels", "multiplications": "0.5"})},
	},
	{
		places: specPlace, below: ".stages[].prune", message: "branches goes with multiplications of structure Channels, such as 0.5: whole branches go as far as that takes them", guard: "has(self.branches)",
		rejected: []edit{at("stages.0.prune", object{"structure": "Channels", "channels": "0.5", "branches": true}), at("stages.0.prune", object{"sparsity": "0.5", "branches": true})},
		accepted: []edit{at("stages.0.prune", object{"structure": "Channels", "multiplications": "0.5", "branches": true}), at("stages.0.prune", object{"sparsity": "0.5", "branches": false})},
	},
	{
		places: specPlace, below: ".stages[].prune.multiplications", message: "must be above 0 and below 1, such as 0.5 for half of the multiplications",
		rejected: []edit{at("stages.0.prune", object{"structure": "Channels", "multiplications": 0})}, accepted: []edit{at("stages.0.prune", object{"structure": "Channels", "multiplications": "0.01"})},
	},
	{
		places: specPlace, below: ".stages[].prune", message: "scope, schedule and pattern are of structure Weights: channels are taken out of every layer at once", guard: "has(self.structure)",
		rejected: []edit{at("stages.0.prune", object{"structure": "Channels", "channels": "0.5", "scope": "Global"})}, accepted: []edit{at("stages.0.prune", object{"structure": "Weights", "sparsity": "0.5", "scope": "Global"})},
	},
	{
		places: specPlace, below: ".stages[].prune", message: "rules of structure Channels have channels or skip, those of structure Weights sparsity, pattern or skip", guard: "has(self.rules)",
		rejected: []edit{at("stages.0.prune", object{"structure": "Channels", "channels": "0.5", "rules": []any{object{"layers": "*", "sparsity": "0.5"}}})},
		accepted: []edit{at("stages.0.prune", object{"structure": "Channels", "channels": "0.5", "rules": []any{object{"layers": "*", "channels": "0.25"}}})},
	},
	{
		places: specPlace, below: ".stages[].prune.channels", message: "must be at least 0 and below 1, such as 0.25 for a quarter of the channels",
		rejected: []edit{at("stages.0.prune", object{"structure": "Channels", "channels": 1})}, accepted: []edit{at("stages.0.prune", object{"structure": "Channels", "channels": "0.99"})},
	},
	{
		places: specPlace, below: ".stages[].prune.rules[].channels", message: "must be at least 0 and below 1",
		rejected: []edit{at("stages.0.prune", object{"structure": "Channels", "channels": 0, "rules": []any{object{"layers": "*", "channels": 1}}})},
		accepted: []edit{at("stages.0.prune", object{"structure": "Channels", "channels": 0, "rules": []any{object{"layers": "*", "channels": "0.99"}}})},
	},
	number(specPlace, "stages.0.prune.sparsity", `must be at least 0 and below 1, such as 0.5 for half of the weights`, 1, 0),
	{
		places: leafPlace, message: "weights Int4 go with activations Int8 only", guard: "has(self.weights)",
		rejected: []edit{at("weights", "Int4"), at("activations", "Int16")}, accepted: []edit{at("weights", "Int4"), at("activations", "Int8")},
	},
	{
		places: leafPlace, below: ".rules[]", message: "weights Int4 go with activations Int8 only", guard: "has(self.weights)",
		rejected: []edit{at("rules", []any{object{"layers": "a", "weights": "Int4", "activations": "Int16"}})}, accepted: []edit{at("rules", []any{object{"layers": "a", "weights": "Int8", "activations": "Int16"}})},
	},
	{
		places: leafPlace, below: ".rules[]", message: "a rule says activations, weights, or both",
		rejected: []edit{at("rules", []any{object{"layers": "a"}})}, accepted: []edit{at("rules", []any{object{"layers": "a", "weights": "Int4"}})},
	},
	{
		places: leafPlace, below: ".calibration", message: "percentile applies to method Percentile only", guard: "has(self.percentile)",
		rejected: []edit{at("calibration", object{"method": "MinMax", "percentile": 99})}, accepted: []edit{at("calibration", object{"method": "Percentile", "percentile": "99.9"})},
	},
	{
		places: leafPlace, below: ".calibration.percentile", message: "must be above 50 and at most 100",
		rejected: []edit{at("calibration", object{"method": "Percentile", "percentile": 50})}, accepted: []edit{at("calibration", object{"method": "Percentile", "percentile": 100})},
	},
	{
		places: templatePlace, below: ".annotations", message: "annotations of espalier.dev are the operator's",
		rejected: []edit{at("annotations", object{"espalier.dev/x": "y"})}, accepted: []edit{at("annotations", object{"example.com/espalier.dev": "y"})},
	},
	{
		places: templatePlace, below: ".labels", message: "labels of espalier.dev are the operator's",
		rejected: []edit{at("labels", object{"espalier.dev/x": "y"})}, accepted: []edit{at("labels", object{"kueue.x-k8s.io/queue-name": "y"})},
	},
	{
		places: templatePlace, below: ".env[].name", message: "variables that begin with ESPALIER_ are the operator's",
		rejected: []edit{at("env", []any{object{"name": "ESPALIER_STAGE", "value": "x"}})}, accepted: []edit{at("env", []any{object{"name": "HTTPS_PROXY", "value": "x"}})},
	},
	{
		places: trainingPlace, below: ".classWeights[]", message: "must be at least 0",
		rejected: []edit{at("classWeights", []any{1, "-1"})}, accepted: []edit{at("classWeights", []any{0, "2.5"})},
	},
	number(trainingPlace, "clipNorm", "must be at least 0 and at most 1e9", "1e10", 5),
	number(trainingPlace, "distillation.temperature", "must be at least 0.001 and at most 1000", 0, 4),
	number(trainingPlace, "distillation.weight", "must be at least 0 and at most 1", "1.1", 1),
	number(trainingPlace, "labelSmoothing", "must be at least 0 and below 1", 1, "0.1"),
	number(trainingPlace, "learningRate", "must be above 0 and at most 1000", 0, "5e-5"),
	{
		places: trainingPlace, below: ".maxMinutes", message: "must be above 0 and at most 100000",
		rejected: []edit{at("epochs", nil), at("maxMinutes", 0)}, accepted: []edit{at("epochs", nil), at("maxMinutes", "0.5")},
	},
	{
		places: trainingPlace, message: "epochs is how many there are: leave maxEpochs and maxMinutes out, or it", guard: "has(self.epochs)",
		rejected: []edit{at("epochs", 3), at("maxEpochs", 30)}, accepted: []edit{at("epochs", 3)},
	},
	number(trainingPlace, "momentum", "must be at least 0 and below 1", 1, ".99"),
	number(trainingPlace, "stepFactor", "must be above 0 and at most 1", "1.5", 1),
	number(trainingPlace, "warmupEpochs", "must be at least 0 and at most 10000", 20000, "0.5"),
	number(trainingPlace, "weightDecay", "must be at least 0 and at most 1000", "-0.1", "0.1"),
}

var index = regexp.MustCompile(`\[[0-9]+\]|[.][0-9]+\b`)

// rule names a rule: the path of its schema, and its message.
type rule struct{ path, message string }

// examples are the examples' rules, with edits of whole manifests.
func examples(t *testing.T) map[rule]ruleExample {
	t.Helper()
	out := map[rule]ruleExample{}
	for _, e := range ruleExamples {
		for schema, place := range e.places {
			r := rule{index.ReplaceAllString(schema+e.below, "[]"), e.message}
			if _, twice := out[r]; twice {
				t.Errorf("%v: two examples", r)
			}
			whole := e
			whole.rejected, whole.accepted = below(place, e.rejected), below(place, e.accepted)
			if e.before != nil {
				whole.before = below(place, e.before)
			}
			out[r] = whole
		}
	}
	return out
}

func below(place string, edits []edit) []edit {
	out := make([]edit, len(edits))
	for i, e := range edits {
		out[i] = at(strings.TrimPrefix(place+"."+e.path, "."), e.value)
	}
	return out
}

// broken are the rules of a schema that the good manifest breaks with edits; before, nil for nothing, are those that it had until now.
func broken(t *testing.T, s *structural.Structural, before, edits []edit) []rule {
	t.Helper()
	read := func(edits []edit) (object map[string]any) {
		if err := json.Unmarshal(manifest(t, edits...), &object); err != nil {
			t.Fatal(err)
		}
		return object
	}
	var old any
	if before != nil {
		old = read(before)
	}
	found, _ := cel.NewValidator(s, true, celconfig.PerCallLimit).Validate(context.Background(), nil, s, read(edits), old, celconfig.RuntimeCELCostBudget)
	var out []rule
	for _, p := range found {
		if p.Type == field.ErrorTypeInternal {
			t.Fatal(p)
		}
		path := strings.TrimPrefix(strings.TrimPrefix(p.Field, "<nil>"), ".")
		if r := (rule{index.ReplaceAllString(path, "[]"), p.Detail}); !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// with returns a copy of a schema whose only rule is one at a path.
func with(s *structural.Structural, path, expression string) *structural.Structural {
	s = s.DeepCopy()
	var walk func(s *structural.Structural, at string)
	walk = func(s *structural.Structural, at string) {
		s.XValidations = nil
		if at == path {
			s.XValidations = append(s.XValidations, apiextensionsv1.ValidationRule{Rule: expression, Message: "it holds"})
		}
		for name, child := range s.Properties {
			walk(&child, strings.TrimPrefix(at+"."+name, "."))
			s.Properties[name] = child
		}
		if s.Items != nil {
			walk(s.Items, at+"[]")
		}
		if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
			walk(s.AdditionalProperties.Structural, at+"{}")
		}
	}
	walk(s, "")
	return s
}

func TestEveryRuleOfTheSchemaRejectsAndAccepts(t *testing.T) {
	v, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	known := examples(t)
	crdtest.Visit(v.schema, "", func(path string, s *structural.Structural) {
		for i := range s.XValidations {
			r := rule{path, s.XValidations[i].Message}
			e, ok := known[r]
			delete(known, r)
			if !ok {
				t.Errorf("%s: %q has no example", r.path, r.message)
				continue
			}
			t.Run(r.path+" "+r.message, func(t *testing.T) {
				t.Parallel()
				if got := broken(t, v.schema, e.before, e.rejected); !slices.Equal(got, []rule{r}) {
					t.Errorf("the rejected example breaks %q, want this rule and no other", got)
				}
				if got := broken(t, v.schema, e.before, e.accepted); len(got) > 0 {
					t.Errorf("the accepted example breaks %q", got)
				}
				guard := e.guard
				if guard == "" {
					guard = "true"
				}
				for kind, edits := range map[string][]edit{"rejected": e.rejected, "accepted": e.accepted} {
					if len(broken(t, with(v.schema, path, "!("+guard+")"), e.before, edits)) == 0 {
						t.Errorf("the rule does not look at the %s example: it is not true there that %s", kind, guard)
					}
					if _, err := Decode(manifest(t, edits...)); (err == nil) != (kind == "accepted" || e.before != nil) {
						t.Errorf("the %s example: %v", kind, err)
					}
				}
			})
		}
	})
	for _, r := range slices.SortedFunc(maps.Keys(known), func(a, b rule) int { return strings.Compare(a.path, b.path) }) {
		t.Errorf("%s: an example of %q, which is no rule", r.path, r.message)
	}
}
