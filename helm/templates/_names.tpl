{{/* Names and labels that all objects share. */}}

{{- define "cvmfs-webhook.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "cvmfs-webhook.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What selects the pods of a part: (dict "root" $ "part" "worker"). */}}
{{- define "cvmfs-webhook.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "cvmfs-webhook.image" -}}
{{- $repository := required "image.repository: name an image with cvmfs-webhook in it" .Values.image.repository -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{- define "cvmfs-webhook.publicUrl" -}}
{{- if .Values.publicUrl -}}
{{- .Values.publicUrl | trimSuffix "/" -}}
{{- else if .Values.receiver.ingress.enabled -}}
{{- printf "%s://%s" (ternary "https" "http" (not (empty .Values.receiver.ingress.tlsSecret))) (required "receiver.ingress.host: name the host" .Values.receiver.ingress.host) -}}
{{- else -}}
{{- $port := .Values.receiver.service.port -}}
{{- printf "http://%s.%s.svc%s" (include "cvmfs-webhook.fullname" .) .Release.Namespace (ternary "" (printf ":%v" $port) (eq (int $port) 80)) -}}
{{- end -}}
{{- end -}}

{{- define "cvmfs-webhook.credentials" -}}
{{- printf "%s-credentials" (include "cvmfs-webhook.fullname" .) -}}
{{- end -}}

{{- define "cvmfs-webhook.storageClaim" -}}
{{- .Values.repository.storage.existingClaim | default (printf "%s-storage" (include "cvmfs-webhook.fullname" .)) -}}
{{- end -}}
