package controllers

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/measurement"
	"espalier.dev/espalier/internal/walk"
)

// The containers and volumes of measurements. Those that measure are called measurePrefix and the measurement's name.
const (
	measurePrefix  = "measure-"
	lendContainer  = "lend-espalier"
	toolsVolume    = "measure--bin" // no measurement has such a name: theirs begin with a letter
	requestsVolume = "measure--requests"
)

// measuring adds to the pod of a stage what measures its leaf: a container for every measurement without a Job of its own, of the measurement's
// image, which runs beside the stage's and ends with it; to that of such a Job, the one that it is for. It has no secrets, no claims and no token; the stage hands it the leaf in a volume that it can only read, and
// reads its answer from one that is its own. The program that waits for the leaf there is this image's, lent by an init container.
func (a attempt) measuring(pod *corev1.PodSpec, t v1alpha1.PodTemplate) {
	if a.after.reads || a.stage.Name == walk.Publish {
		return
	}
	ms := slices.DeleteFunc(slices.Clone(a.pipeline.Spec.Measurements), func(m v1alpha1.Measurement) bool {
		return a.after.measures == "" && m.Job != nil || a.after.measures != "" && m.Name != a.after.measures
	})
	if len(ms) == 0 {
		return
	}
	volume := func(name string, limit *resource.Quantity) {
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: limit}}})
	}
	volume(toolsVolume, ptr.To(resource.MustParse("512Mi")))
	volume(requestsVolume, cacheLimit(t))
	own := &pod.Containers[0]
	tools := corev1.VolumeMount{Name: toolsVolume, MountPath: measurement.ToolsPath}
	requests := corev1.VolumeMount{Name: requestsVolume, MountPath: measurement.RequestsPath}
	own.VolumeMounts = append(own.VolumeMounts, requests)
	pod.InitContainers = append(pod.InitContainers, corev1.Container{
		Name: lendContainer, Image: own.Image, ImagePullPolicy: own.ImagePullPolicy, Args: []string{"stage", "lend", measurement.ToolsPath},
		Resources: little(own.Resources), VolumeMounts: []corev1.VolumeMount{tools}, SecurityContext: restricted(),
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
	})
	tools.ReadOnly, requests.ReadOnly = true, true
	for i := range ms {
		name := measurePrefix + strings.ReplaceAll(ms[i].Name, "_", "-")
		volume(name, cacheLimit(t))
		own.VolumeMounts = append(own.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path.Join(measurement.AnswersPath, ms[i].Name), ReadOnly: true})
		var asked corev1.ResourceRequirements
		if ms[i].Job != nil {
			asked = ms[i].Job.Resources
		}
		pod.InitContainers = append(pod.InitContainers, corev1.Container{
			Name: name, Image: ms[i].Image, RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), // beside the stage, and ended with it
			Command:      []string{path.Join(measurement.ToolsPath, measurement.Tool), "stage", "measure", ms[i].Name},
			Env:          []corev1.EnvVar{{Name: "HOME", Value: measurement.ScratchPath}},
			Resources:    a.defaults.beside(asked),
			VolumeMounts: []corev1.VolumeMount{tools, requests, {Name: name, MountPath: measurement.ScratchPath}}, SecurityContext: restricted(),
			TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		})
	}
}

// measuredBy checks the images of measurements: they are allowed as a template's are. Beside the identity of a service account only the
// installation's images run, since webhooks and nodes give it to every container of a pod.
func (p Policy) measuredBy(spec *v1alpha1.OptimizationPipelineSpec, own string, identity bool) error {
	for i := range spec.Measurements {
		image := spec.Measurements[i].Image
		field := fmt.Sprintf("spec.measurements[%d].image", i)
		if !matchesAny(append(slices.Clone(p.Images), own), image) {
			return fmt.Errorf("%s %q is not allowed in this installation: leave the measurement out, or have its image added to the manager's --allowed-images", field, image)
		}
		if identity && !p.trusts(image, own) {
			return fmt.Errorf("%s %q is allowed only by a pattern, and every container of a pod has the identity of template.serviceAccountName: leave that out, or have the image added by its whole name to the manager's --allowed-images", field, image)
		}
	}
	return nil
}
