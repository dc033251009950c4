{{- /* What names of objects begin with: as in config, espalier, if the release is called that. */ -}}
{{- define "espalier.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "espalier.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* The manager's flags as a list, those alone that are not as the manager has them by itself. */ -}}
{{- define "espalier.args" -}}
{{- range .Values.namespaces }}
- --namespace={{ . }}
{{- end }}
{{- range $flag, $value := dict "max-in-flight" .Values.limits.maxInFlight "max-priority" .Values.limits.maxPriority "concurrency" .Values.limits.concurrency "qps" .Values.limits.qps "burst" .Values.limits.burst }}
{{- if not (kindIs "invalid" $value) }}
- --{{ $flag }}={{ int64 $value }}
{{- end }}
{{- end }}
{{- range $flag, $value := dict "stage-requests" .Values.stages.requests "stage-limits" .Values.stages.limits }}
{{- if not (kindIs "invalid" $value) }}
{{- $list := list }}
{{- range $name, $quantity := $value }}{{ $list = append $list (printf "%s=%v" $name $quantity) }}{{ end }}
- {{ printf "--%s=%s" $flag (join "," $list) | quote }}
{{- end }}
{{- end }}
{{- with .Values.policy }}
{{- range .allowedImages }}
- {{ printf "--allowed-images=%s" . | quote }}
{{- end }}
{{- range .allowedPriorityClasses }}
- {{ printf "--allowed-priority-classes=%s" . | quote }}
{{- end }}
{{- range .allowedServiceAccounts }}
- {{ printf "--allowed-service-accounts=%s" . | quote }}
{{- end }}
{{- range .allowedRuntimeClasses }}
- {{ printf "--allowed-runtime-classes=%s" . | quote }}
{{- end }}
{{- with .allowedIDs }}
- --allowed-ids={{ . }}
{{- end }}
{{- if .sharedStoreReuse }}
- --shared-store-reuse
{{- end }}
{{- end }}
{{- if not .Values.metrics.enabled }}
- --metrics-bind-address=0
{{- end }}
{{- if .Values.verbose }}
- --verbose
{{- end }}
{{- end }}
