{{/*
The pod of a part. Beside root and part: file (of the ConfigMap), sections (of the configuration, whose
Secrets it mounts), args, values (resources, pod, storage), and where it has them command, env,
ports, image.
*/}}
{{- define "winnow.pod" -}}
{{- $values := .root.Values -}}
{{- $image := merge (deepCopy (.image | default dict)) $values.image -}}
metadata:
  labels:
    {{- include "winnow.selector" . | nindent 4 }}
  annotations:
    checksum/config: {{ toToml $values.config | sha256sum }} # a process reads it at its start
spec:
  # Kubernetes would set WINNOW_… variables of every Service, which are no settings
  enableServiceLinks: false
  automountServiceAccountToken: false
  serviceAccountName: {{ $values.serviceAccountName }}
  # SIGTERM to the end: at most 2 s for deliveries, 10 s for the consumer, 5 s for a batch on the
  # device of each route, 60 s for a sink's write. What is killed is labelled again by another.
  terminationGracePeriodSeconds: {{ .graceSeconds | default 45 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.pod }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  containers:
    - name: winnow
      image: {{ printf "%s:%s" $image.repository ($image.tag | default .root.Chart.AppVersion) }}
      imagePullPolicy: {{ $image.pullPolicy }}
      {{- with .command }}
      command: {{ toJson . }}
      {{- end }}
      args: {{ concat .args (.values.args | default list) | toJson }}
      {{- with .env }}
      env:
        {{- range $name, $value := . }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      {{- end }}
      {{- with $values.envFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .ports }}
      ports:
        {{- range $name, $port := . }}
        - {name: {{ $name }}, containerPort: {{ int $port }}}
        {{- end }}
      # /healthz answers from the first second, also while models load or the broker is away
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 15
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
      {{- end }}
      {{- with .values.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      {{- $secrets := (include "winnow.secrets" . | fromJson).names }}
      volumeMounts:
        - {name: config, mountPath: /etc/winnow, readOnly: true}
        - {name: home, mountPath: /home/winnow}
        - {name: tmp, mountPath: /tmp}
        {{- range $secrets }}
        - {name: secret-{{ replace "." "-" . }}, mountPath: /run/secrets/{{ . }}, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "winnow.name" (dict "root" .root "part" "config") }}
        items: [{key: {{ .file }}, path: winnow.toml}]
    {{- if (.values.storage | default dict).size }}
    - name: home # what it keeps is in .winnow
      persistentVolumeClaim: {claimName: {{ include "winnow.name" . }}}
    {{- else }}
    - {name: home, emptyDir: {}} # what it keeps, in .winnow, is made anew from elsewhere
    {{- end }}
    - {name: tmp, emptyDir: {}}
    {{- range $secrets }}
    - {name: secret-{{ replace "." "-" . }}, secret: {secretName: {{ . }}, defaultMode: 0440}}
    {{- end }}
{{- end -}}

{{- define "winnow.claim" -}}
{{- with .values.storage -}}
{{- if .size -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "winnow.metadata" $ | nindent 2 }}
  annotations: {helm.sh/resource-policy: keep} # what was sent, and how far it got
spec:
  accessModes: [ReadWriteOnce]
  {{- with .storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ .size }}}}
{{- end -}}
{{- end -}}
{{- end -}}
