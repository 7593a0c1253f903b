{{/* The program's configuration file. Secrets are not in it: it names the environment. */}}
{{- define "cvmfs-webhook.config" -}}
{{- $fqrn := .Values.repository.fqrn -}}
listen: 0.0.0.0:8080
public_url: {{ include "cvmfs-webhook.publicUrl" . }}
trusted_proxies: {{ toJson .Values.trustedProxies }}
state: /var/lib/cvmfs-webhook
policy: /etc/cvmfs-webhook/policy/policy.yaml
log_level: {{ .Values.logLevel }}
queue:
  url: ${REDIS_URL}
  durability: {{ ternary "strict" .Values.redis.external.durability .Values.redis.enabled }}
operator:
  token: ${OPERATOR_TOKEN}
repositories:
  {{ $fqrn }}:
    publisher: native
    storage: file:///srv/cvmfs/{{ $fqrn }}
    keys: /etc/cvmfs/keys
    ttl: {{ .Values.repository.ttl }}
{{- with .Values.sources }}
sources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.registries }}
registries:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.limits }}
limits:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
