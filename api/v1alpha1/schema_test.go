package v1alpha1

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/internal/crdtest"
)

// edit changes one place of the good manifest; a nil value removes it.
type edit struct {
	path  string
	value any
}

func at(path string, value any) edit { return edit{path, value} }

// manifest is the good manifest with edits, as JSON. Paths are relative to spec unless they begin with metadata.
func manifest(t *testing.T, edits ...edit) []byte {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(good), &object); err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		path := e.path
		if !strings.HasPrefix(path, "metadata") {
			path = "spec." + path
		}
		set(object, strings.Split(path, "."), e.value)
	}
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func set(object any, path []string, value any) {
	switch object := object.(type) {
	case map[string]any:
		switch {
		case len(path) == 1 && value == nil:
			delete(object, path[0])
		case len(path) == 1:
			object[path[0]] = value
		default:
			if object[path[0]] == nil {
				object[path[0]] = map[string]any{}
			}
			set(object[path[0]], path[1:], value)
		}
	case []any:
		i, _ := strconv.Atoi(path[0])
		if len(path) == 1 {
			object[i] = value
			return
		}
		set(object[i], path[1:], value)
	}
}

// The stages of the good manifest: 0 prune, 1 pqat, 2 cluster, 3 cluster-only; its constraints: 0 AccuracyDrop, 1 CompressedBytes.
var ruleTests = map[string]struct {
	rejected, accepted []edit
	want               string // in the error; a rule's whole message where the case is about a CEL rule
}{
	"the name is a DNS label": {
		[]edit{at("metadata.name", "a.b")}, []edit{at("metadata.name", strings.Repeat("a", 63))},
		"metadata.name must be a DNS label: at most 63 characters, of a-z, 0-9 and -, and no - at either end",
	},
	"the name has at most 63 characters": {
		[]edit{at("metadata.name", strings.Repeat("a", 64))}, nil,
		"metadata.name must be a DNS label: at most 63 characters, of a-z, 0-9 and -, and no - at either end",
	},
	"baseline is reserved": {
		[]edit{at("stages.1.name", "baseline")}, []edit{at("stages.1.name", "base-line")}, "baseline, model and publish are reserved: name the stage otherwise",
	},
	"publish is reserved": {[]edit{at("stages.1.name", "publish")}, nil, "are reserved"},
	"from names a stage": {
		[]edit{at("stages.3.from", "nowhere")}, []edit{at("stages.3.from", "prune")}, "from must name a stage of this pipeline, or be model",
	},
	"from names an earlier stage": {
		[]edit{at("stages.1.from", "cluster")}, []edit{at("stages.3.from", "cluster")}, "from must name an earlier stage: move that stage up",
	},
	"a stage does not work on itself": {
		[]edit{at("stages.2.from", "cluster")}, nil, "from must name an earlier stage: move that stage up",
	},
	"from names no quantize stage": {
		[]edit{at("stages.3.from", "pqat")}, nil, "from must name a stage that yields a model: a quantize stage yields only a leaf",
	},
	"a stage has one technique": {
		[]edit{at("stages.1.prune", map[string]any{"sparsity": "0.5"})}, nil, "give it exactly one of fineTune, prune, cluster, quantize",
	},
	"a stage has a technique": {
		[]edit{at("stages.1.quantize", nil)}, []edit{at("stages.1.quantize", map[string]any{})}, "give it exactly one of fineTune, prune, cluster, quantize",
	},
	"s3 settings are for s3": {
		[]edit{at("model.uri", "gs://b/m"), at("model.s3", map[string]any{"pathStyle": true})},
		[]edit{at("model.uri", "s3://b/m"), at("model.s3", map[string]any{"endpoint": "https://minio:9000", "region": "eu-west-1"})},
		"s3 applies to s3:// addresses only",
	},
	"credentials are for remote places": {
		[]edit{at("model.uri", "pvc://c/m"), at("model.credentialsSecretRef", map[string]any{"name": "s"})},
		[]edit{at("model.uri", "azblob://c/m"), at("model.credentialsSecretRef", map[string]any{"name": "s"})},
		"credentialsSecretRef applies to s3://, gs:// and azblob:// addresses only",
	},
	"a scheme is a known one": {
		[]edit{at("model.uri", "ftp://host/m")}, []edit{at("model.uri", "../models/m.tflite")},
		"uri must be s3://bucket/key, gs://bucket/key, azblob://container/key, pvc://claim/path, file:///path or a path",
	},
	"an address has a bucket": {[]edit{at("dataset.uri", "s3:///key")}, []edit{at("dataset.uri", "s3://bucket")}, "uri must be s3://bucket/key"},
	"a claim's name is one":   {[]edit{at("dataset.uri", "pvc://My_Claim/x")}, []edit{at("dataset.uri", "pvc://my-claim/x")}, "uri must be s3://bucket/key"},
	"a file's path is whole":  {[]edit{at("dataset.uri", "file://x")}, []edit{at("dataset.uri", "file:///x")}, "uri must be s3://bucket/key"},
	"an address stays in its place": {
		[]edit{at("model.uri", "pvc://c/a/../../b")}, []edit{at("model.uri", "pvc://c/a..b/..c")}, "uri must not climb out of its place with ..",
	},
	"an address does not end in ..": {[]edit{at("artifacts", map[string]any{"uri": "s3://b/.."})}, []edit{at("artifacts", map[string]any{"uri": "s3://b/c"})}, "uri must not climb out of its place with .."},
	"a learning rate is above 0": {
		[]edit{at("training.learningRate", 0)}, []edit{at("training.learningRate", "5e-5")}, "must be above 0 and at most 1000",
	},
	"momentum is below 1":              {[]edit{at("training.momentum", 1)}, []edit{at("training.momentum", ".99")}, "must be at least 0 and below 1"},
	"weight decay is not negative":     {[]edit{at("training.weightDecay", "-0.1")}, []edit{at("training.weightDecay", "0.1")}, "must be at least 0 and at most 1000"},
	"the step factor is at most 1":     {[]edit{at("training.stepFactor", "1.5")}, []edit{at("training.stepFactor", 1)}, "must be above 0 and at most 1"},
	"warm-up is bounded":               {[]edit{at("training.warmupEpochs", 20000)}, []edit{at("training.warmupEpochs", "0.5")}, "must be at least 0 and at most 10000"},
	"the norm to clip at is bounded":   {[]edit{at("training.clipNorm", "1e10")}, []edit{at("training.clipNorm", 5)}, "must be at least 0 and at most 1e9"},
	"label smoothing is below 1":       {[]edit{at("training.labelSmoothing", "1.0")}, []edit{at("training.labelSmoothing", "0.1")}, "must be at least 0 and below 1"},
	"class weights are not negative":   {[]edit{at("training.classWeights", []any{1, "-1"})}, []edit{at("training.classWeights", []any{0, "2.5"})}, "must be at least 0"},
	"the teacher's weight is a share":  {[]edit{at("training.distillation", map[string]any{"weight": "1.1"})}, []edit{at("training.distillation", map[string]any{"weight": 1})}, "must be at least 0 and at most 1"},
	"a temperature is above 0":         {[]edit{at("training.distillation", map[string]any{"temperature": 0})}, []edit{at("training.distillation", map[string]any{"temperature": 4})}, "must be at least 0.001 and at most 1000"},
	"a stage's training has the rules": {[]edit{at("stages.0.training.learningRate", "-1")}, []edit{at("stages.0.training.learningRate", "1")}, "spec.stages[0].training.learningRate"},
	"a sparsity is below 1": {
		[]edit{at("stages.0.prune.sparsity", 1)}, []edit{at("stages.0.prune.sparsity", 0)}, `must be at least 0 and below 1, such as 0.5 for half of the weights`,
	},
	"weights have no multiplications": {
		[]edit{at("stages.0.prune", map[string]any{"sparsity": "0.5", "multiplications": "0.5"})}, []edit{at("stages.0.prune", map[string]any{"structure": "Channels", "channels": "0.5"})},
		"structure Channels goes with channels",
	},
	"channels are a share or what multiplications leave": {
		[]edit{at("stages.0.prune", map[string]any{"structure": "Channels"})}, nil, "structure Channels goes with channels",
	},
	"not all multiplications are what is left": {
		[]edit{at("stages.0.prune", map[string]any{"structure": "Channels", "multiplications": 1})}, []edit{at("stages.0.prune", map[string]any{"structure": "Channels", "multiplications": "0.99"})},
		"must be above 0 and below 1, such as 0.5 for half of the multiplications",
	},
	"a prune rule says something": {
		[]edit{at("stages.0.prune.rules", []any{map[string]any{"layers": "*"}})}, []edit{at("stages.0.prune.rules", []any{map[string]any{"layers": "a*", "skip": true}, map[string]any{"layers": "b?", "pattern": "2:4"}})},
		"a rule either skips layers or gives them a sparsity, pattern or channels",
	},
	"a prune rule does not say two things": {
		[]edit{at("stages.0.prune.rules", []any{map[string]any{"layers": "*", "skip": true, "sparsity": "0.1"}})}, nil, "a rule either skips layers or gives them a sparsity, pattern or channels",
	},
	"a prune rule's sparsity is below 1": {
		[]edit{at("stages.0.prune.rules", []any{map[string]any{"layers": "*", "sparsity": "1"}})}, []edit{at("stages.0.prune.rules", []any{map[string]any{"layers": "*", "sparsity": "0.9"}})}, "must be at least 0 and below 1",
	},
	"a cluster rule says something": {
		[]edit{at("stages.2.cluster.rules", []any{map[string]any{"layers": "*"}})}, []edit{at("stages.2.cluster.rules", []any{map[string]any{"layers": "*", "clusters": 4}})},
		"a rule either skips layers or gives them clusters or entropy",
	},
	"entropy is not negative": {[]edit{at("stages.2.cluster.entropy", -1)}, []edit{at("stages.2.cluster.entropy", "0.5")}, "must be at least 0 and at most 1000"},
	"a percentile is for its method": {
		[]edit{at("stages.1.quantize.calibration", map[string]any{"percentile": 99})}, []edit{at("stages.1.quantize.calibration", map[string]any{"method": "Percentile", "percentile": "99.9"})},
		"percentile applies to method Percentile only",
	},
	"a percentile is above 50": {
		[]edit{at("stages.1.quantize.calibration", map[string]any{"method": "Percentile", "percentile": 50})}, nil, "must be above 50 and at most 100",
	},
	"a constraint has a bound": {[]edit{at("constraints.0.max", nil)}, nil, "a constraint needs min or max"},
	"accuracy is bounded from below": {
		[]edit{at("constraints.0", map[string]any{"metric": "Accuracy", "max": "0.9"})}, []edit{at("constraints.0", map[string]any{"metric": "Accuracy", "min": "0.9"})},
		"more of Accuracy, Agreement, AUC, MeanIoU, F1 and Sparsity is better: bound them by min; less of every other metric is: bound it by max",
	},
	"bytes are bounded from above": {[]edit{at("constraints.1", map[string]any{"metric": "FileBytes", "min": 1})}, []edit{at("constraints.1", map[string]any{"metric": "FileBytes", "min": 1, "max": 2})}, "bound it by max"},
	"min is not above max": {
		[]edit{at("constraints.1", map[string]any{"metric": "FileBytes", "min": 3, "max": 2})}, []edit{at("constraints.1", map[string]any{"metric": "FileBytes", "min": 2, "max": "2.0"})}, "min must not be above max",
	},
	"shares are at most 1": {
		[]edit{at("constraints.0", map[string]any{"metric": "Accuracy", "min": 95})}, []edit{at("constraints.0", map[string]any{"metric": "Accuracy", "min": 1})},
		`Accuracy, AccuracyDrop, Agreement, AUC, MeanIoU, F1 and Sparsity are shares, at most 1: write 0.95 for 95 %`,
	},
	"an objective is for Best": {
		[]edit{at("selection", map[string]any{"objective": "FileBytes"})}, []edit{at("selection", map[string]any{"strategy": "Best", "objective": "FileBytes"})}, "objective applies to strategy Best only",
	},
	"padding is for random crops": {
		[]edit{at("dataset.augmentation", map[string]any{"padding": 2})}, []edit{at("dataset.augmentation", map[string]any{"padding": 2, "randomCrop": true})}, "padding applies with randomCrop only",
	},
	"noise is not negative": {[]edit{at("dataset.augmentation", map[string]any{"noise": "-0.1"})}, []edit{at("dataset.augmentation", map[string]any{"noise": "0.1"})}, "must be at least 0"},
	"a split leaves something": {
		[]edit{at("dataset.split", map[string]any{"validation": "0.5", "test": "0.5"})}, []edit{at("dataset.split", map[string]any{"validation": "0.5", "test": "0.4"})},
		"validation and test together must leave something to train on: less than 1",
	},
	"a fraction is not negative":    {[]edit{at("dataset.split", map[string]any{"validation": "-0.5"})}, []edit{at("dataset.split", map[string]any{"validation": 0})}, "must be at least 0 and below 1"},
	"labels are not the operator's": {[]edit{at("template.labels", map[string]any{"espalier.dev/x": "y"})}, []edit{at("template.labels", map[string]any{"kueue.x-k8s.io/queue-name": "y"})}, "labels of espalier.dev are the operator's"},
	"notes are not the operator's":  {[]edit{at("template.annotations", map[string]any{"espalier.dev/x": "y"})}, []edit{at("template.annotations", map[string]any{"a/x": "y"})}, "annotations of espalier.dev are the operator's"},
	"variables are not the operator's": {
		[]edit{at("template.env", []any{map[string]any{"name": "ESPALIER_STAGE", "value": "x"}})}, []edit{at("template.env", []any{map[string]any{"name": "HTTPS_PROXY", "value": "x"}})},
		"variables that begin with ESPALIER_ are the operator's",
	},
	// Bounds and patterns of the schema itself.
	"a metric is bounded once":    {[]edit{at("constraints.1", map[string]any{"metric": "AccuracyDrop", "max": 1})}, nil, "another constraint is on AccuracyDrop"},
	"a name is there once":        {[]edit{at("stages.1.name", "prune")}, nil, "another one before it has name prune"},
	"a digest is one":             {[]edit{at("model.digest", "md5:1")}, []edit{at("model.digest", "sha256:"+strings.Repeat("0f", 32))}, "want sha256: and 64 hexadecimal digits"},
	"exponents are of two digits": {[]edit{at("constraints.0.max", "1e999999999")}, []edit{at("constraints.0.max", "1e-30")}, "want a number such as 3, 0.5 or 1e-4"},
	"a quotient is not by 0":      {[]edit{at("dataset.preprocessing.scale", "1/0.0")}, []edit{at("dataset.preprocessing.scale", "2/.5")}, `or "1/255"`},
	"a pattern of zeros is one":   {[]edit{at("stages.0.prune.pattern", "4x")}, []edit{at("stages.0.prune.pattern", "1x16")}, `a block such as "1x4"`},
	"an endpoint is an address":   {[]edit{at("model.uri", "s3://b/m"), at("model.s3", map[string]any{"endpoint": "minio:9000"})}, nil, "http:// or https://"},
	"255 clusters at most":        {[]edit{at("stages.2.cluster.clusters", 256)}, []edit{at("stages.2.cluster.clusters", 255)}, "spec.stages[2].cluster.clusters"},
}

func TestRulesRejectAndAccept(t *testing.T) {
	for name, tt := range ruleTests {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(manifest(t, tt.rejected...))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error saying %q", err, tt.want)
			}
			isPlain(t, err)
			if _, err := Decode(manifest(t, tt.accepted...)); err != nil {
				t.Errorf("what is right is refused: %v", err)
			}
		})
	}
}

// isPlain wants an error without a validator's turns of phrase.
func isPlain(t *testing.T, err error) {
	t.Helper()
	for _, theirs := range []string{"Invalid value", "Duplicate value", "Required value", "Too many", "Too long", "in body", "regex", "should ", "items"} {
		if strings.Contains(err.Error(), theirs) {
			t.Errorf("%q speaks as a validator does: %s", err, theirs)
		}
	}
}

func TestEveryPatternOfTheSchemaIsSaidInWords(t *testing.T) {
	v, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	crdtest.Visit(v.schema, "", func(path string, s *structural.Structural) {
		if s.ValueValidation != nil && s.ValueValidation.Pattern != "" && patternWords[s.ValueValidation.Pattern] == "" && !embedded(path) {
			t.Errorf("%s: patternWords does not say what %s means", path, s.ValueValidation.Pattern)
		}
	})
}

// embedded reports whether a path is within a type of Kubernetes's own.
func embedded(path string) bool {
	for _, name := range []string{".template.resources", ".template.affinity", ".template.tolerations", ".job.resources", ".job.tolerations", ".cacheSizeLimit", "status.conditions"} {
		if strings.Contains(path, name) {
			return true
		}
	}
	return false
}

func TestEverythingIsBounded(t *testing.T) {
	v, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	crdtest.Visit(v.schema, "", func(path string, s *structural.Structural) {
		if embedded(path) || !strings.HasPrefix(path, "spec") && !strings.HasPrefix(path, "status") {
			return
		}
		vv := s.ValueValidation
		if vv == nil {
			vv = &structural.ValueValidation{}
		}
		switch {
		case s.Type == "array" && vv.MaxItems == nil:
			t.Errorf("%s: a list without maxItems", path)
		case s.Type == "object" && s.AdditionalProperties != nil && vv.MaxProperties == nil:
			t.Errorf("%s: a map without maxProperties", path)
		case s.Type == "string" && vv.MaxLength == nil && len(vv.Enum) == 0 && vv.Format == "" && !strings.HasSuffix(path, "{}"):
			t.Errorf("%s: a string without maxLength", path)
		case s.Type == "number":
			t.Errorf("%s: a float", path)
		}
	})
}

func TestAnAPIServerAcceptsTheDefinition(t *testing.T) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(CRD(), &crd); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&crd)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	var internal apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&crd, &internal, nil); err != nil {
		t.Fatal(err)
	}
	internal.Status.StoredVersions = []string{GroupVersion.Version}
	for _, problem := range crdvalidation.ValidateCustomResourceDefinition(context.Background(), &internal) { // CEL costs among them
		t.Error(problem)
	}
	compact, err := yaml.YAMLToJSON(CRD())
	if err != nil {
		t.Fatal(err)
	}
	if limit := 200 << 10; len(compact) > limit { // kubectl apply keeps it in an annotation of at most 256 KiB
		t.Errorf("the definition has %d bytes, more than %d", len(compact), limit)
	}
}

// example makes a value with every field a schema has.
func example(s *structural.Structural) any {
	switch {
	case s.XIntOrString:
		return "0.5"
	case s.ValueValidation != nil && len(s.ValueValidation.Enum) > 0:
		return s.ValueValidation.Enum[0].Object
	case s.ValueValidation != nil && s.ValueValidation.Format == "date-time":
		return "2026-01-02T03:04:05Z"
	case s.Type == "array":
		return []any{example(s.Items)}
	case s.Type == "object" && s.AdditionalProperties != nil:
		return map[string]any{"key": example(s.AdditionalProperties.Structural)}
	case s.Type == "object":
		object := map[string]any{}
		for name, child := range s.Properties {
			object[name] = example(&child)
		}
		return object
	case s.Type == "integer":
		return float64(7)
	case s.Type == "boolean":
		return true
	default:
		return "text"
	}
}

func TestARoundTripThroughGoKeepsEveryFieldOfTheSchema(t *testing.T) {
	v, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	want := example(v.schema).(map[string]any)
	delete(want, "metadata")
	quantities(want)
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var p OptimizationPipeline
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	if data, err = json.Marshal(p.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a round trip loses:\n%s", diff)
	}
}

// quantities writes quantities as Kubernetes does.
func quantities(object any) {
	switch object := object.(type) {
	case map[string]any:
		for name, value := range object {
			if name == "limits" || name == "requests" {
				object[name] = map[string]any{"cpu": "500m"}
			} else if name == "cacheSizeLimit" {
				object[name] = "1Gi"
			} else {
				quantities(value)
			}
		}
	case []any:
		for _, value := range object {
			quantities(value)
		}
	}
}

func TestTheLargestStatusStaysUnder64KiB(t *testing.T) {
	v, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	status := v.schema.Properties["status"]
	data, err := json.Marshal(largest(&status, "status"))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) >= 64<<10 {
		t.Errorf("the largest status has %d bytes", len(data))
	}
	t.Logf("%d bytes", len(data))
}

// largest makes the largest value a schema allows.
func largest(s *structural.Structural, path string) any {
	vv := s.ValueValidation
	if vv == nil {
		vv = &structural.ValueValidation{}
	}
	switch {
	case path == "status.conditions":
		message := strings.Repeat("m", MaxConditionMessage)
		condition := map[string]any{"type": "ConstraintsMet", "status": "Unknown", "reason": "ConstraintsCannotBeMet", "message": message,
			"observedGeneration": 123456789, "lastTransitionTime": "2026-01-02T03:04:05Z"}
		published := maps.Clone(condition)
		published["message"] = message[:MaxStageMessage] // made of names, digests and numbers
		return []any{condition, condition, condition, condition, published}
	case len(vv.Enum) > 0:
		return slices.MaxFunc(vv.Enum, func(a, b structural.JSON) int { return len(fmt.Sprint(a.Object)) - len(fmt.Sprint(b.Object)) }).Object
	case vv.Format == "date-time":
		return "2026-01-02T03:04:05Z"
	case s.Type == "array":
		list := make([]any, *vv.MaxItems)
		for i := range list {
			list[i] = largest(s.Items, path+"[]")
		}
		return list
	case s.Type == "object":
		object := map[string]any{}
		for name, child := range s.Properties {
			object[name] = largest(&child, path+"."+name)
		}
		if path == "status.stages[]" { // of a stage that completed nothing failed, and nothing stands in its way
			for _, name := range []string{"message", "failures", "lastFailure"} {
				delete(object, name)
			}
		}
		return object
	case s.Type == "integer":
		return 1234567890
	case s.Type == "boolean":
		return false
	default:
		return strings.Repeat("x", int(*vv.MaxLength))
	}
}
