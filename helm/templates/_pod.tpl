{{/* What receivers and workers have in common. */}}

{{- define "cvmfs-webhook.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.podSecurity.userId }}
  runAsGroup: {{ .Values.podSecurity.groupId }}
  fsGroup: {{ .Values.podSecurity.groupId }}
  # A repository has millions of files; their owner is looked at once.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "cvmfs-webhook.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "cvmfs-webhook.program" -}}
image: {{ include "cvmfs-webhook.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{ include "cvmfs-webhook.containerSecurity" . }}
env:
  - name: CVMFS_WEBHOOK_CONFIG
    value: /etc/cvmfs-webhook/config/config.yaml
  - name: OPERATOR_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ .Values.operator.existingSecret | default (include "cvmfs-webhook.credentials" .) }}
        key: {{ ternary .Values.operator.key "operator-token" (not (empty .Values.operator.existingSecret)) }}
  {{- if .Values.redis.enabled }}
  - name: REDIS_PASSWORD
    valueFrom: {{ include "cvmfs-webhook.redisPassword" . }}
  - name: REDIS_URL
    value: redis://:$(REDIS_PASSWORD)@{{ include "cvmfs-webhook.fullname" . }}-redis:6379/0
  {{- else }}
  - name: REDIS_URL
    valueFrom:
      secretKeyRef:
        name: {{ required "redis.external.existingSecret: name the Secret with the URL" .Values.redis.external.existingSecret }}
        key: {{ .Values.redis.external.key }}
  {{- end }}
{{- with .Values.secretEnv }}
envFrom:
  {{- range . }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "cvmfs-webhook.redisPassword" -}}
{{- $ours := include "cvmfs-webhook.credentials" . -}}
{secretKeyRef: {name: {{ .Values.redis.existingSecret | default $ours }}, key: {{ ternary .Values.redis.key "redis-password" (not (empty .Values.redis.existingSecret)) }}}}
{{- end -}}

{{- define "cvmfs-webhook.programMounts" -}}
- {name: config, mountPath: /etc/cvmfs-webhook/config, readOnly: true}
- {name: policy, mountPath: /etc/cvmfs-webhook/policy, readOnly: true}
- {name: scratch, mountPath: /tmp, subPath: tmp}
- {name: scratch, mountPath: /var/lib/cvmfs-webhook, subPath: state}
{{- end -}}

{{- define "cvmfs-webhook.programVolumes" -}}
- name: config
  secret: {secretName: {{ include "cvmfs-webhook.fullname" . }}-config}
- name: policy
  configMap: {name: {{ include "cvmfs-webhook.fullname" . }}-policy}
- name: scratch
  emptyDir: {}
{{- end -}}

{{/* Restarts pods when what they read at their start has changed. */}}
{{- define "cvmfs-webhook.checksums" -}}
checksum/config: {{ include "cvmfs-webhook.config" . | sha256sum }}
{{- end -}}

{{/* The repository, to be written; and the keys to sign it with. */}}
{{- define "cvmfs-webhook.workerMounts" -}}
- {name: storage, mountPath: /srv/cvmfs}
- {name: keys, mountPath: /etc/cvmfs/keys, readOnly: {{ not (empty .Values.repository.keys.existingSecret) }}}
{{- end -}}

{{- define "cvmfs-webhook.workerVolumes" -}}
- name: storage
  persistentVolumeClaim: {claimName: {{ include "cvmfs-webhook.storageClaim" . }}}
- name: keys
  {{- if .Values.repository.keys.existingSecret }}
  secret: {secretName: {{ .Values.repository.keys.existingSecret }}, defaultMode: 0440}
  {{- else }}
  persistentVolumeClaim: {claimName: {{ include "cvmfs-webhook.fullname" . }}-keys}
  {{- end }}
{{- end -}}

{{/* The affinity of what shares a volume that one node only may write. */}}
{{- define "cvmfs-webhook.besideWorkers" -}}
podAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- include "cvmfs-webhook.selector" (dict "root" . "part" "worker") | nindent 10 }}
{{- end -}}
