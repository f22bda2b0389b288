{{/* Everything here takes a part: a dict with root (.), part (its name) and what else is said. */}}

{{/* RELEASE-PART. A CronJob's name has 52 characters at most, the shortest bound there is. */}}
{{- define "winnow.name" -}}
{{- $name := printf "%s-%s" .root.Release.Name .part | replace "_" "-" -}}
{{- if gt (len $name) 52 -}}
{{- fail (printf "the name %s has more than 52 characters: shorten the release's or the route's" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "winnow.selector" -}}
app.kubernetes.io/name: winnow
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part | replace "_" "-" }}
{{- end -}}

{{- define "winnow.metadata" -}}
name: {{ include "winnow.name" . }}
labels:
  {{- include "winnow.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* Worker Deployments, as JSON: part, consumer group, routes, file of the ConfigMap. */}}
{{- define "winnow.workers" -}}
{{- $group := .Values.config.kafka.group_id | default "winnow" -}}
{{- $workers := list (dict "part" "worker" "group" $group "routes" .Values.config.routes "file" "winnow.toml") -}}
{{- if .Values.worker.perRoute -}}
{{- $workers = list -}}
{{- range .Values.config.routes -}}
{{- $part := printf "worker-%s" .name -}}
{{- $workers = append $workers (dict "part" $part "group" (printf "%s-%s" $group .name) "routes" (list .) "file" (printf "%s.toml" $part)) -}}
{{- end -}}
{{- end -}}
{{- dict "workers" $workers | toJson -}}
{{- end -}}

{{/* What can run beside workers: arguments, its section of the configuration, what that needs in a
pod, which of these keys has the address of metrics and health, whether others ask it. */}}
{{- define "winnow.known" -}}
dashboard: {args: [dashboard], section: dashboard, needs: {listen: "0.0.0.0:9180"}, address: listen, serves: true}
filter: {args: [filter], section: filter, needs: {http: "0.0.0.0:9109", listen: "inet:0.0.0.0:8894"}, address: http, serves: true}
sink-postgres: {args: [sink, postgres], section: postgres, needs: {http: "0.0.0.0:9111"}, address: http}
sink-webhook: {args: [sink, webhook], section: webhook, needs: {http: "0.0.0.0:9112"}, address: http}
sink-feed: {args: [sink, feed], section: feed_sink, needs: {http: "0.0.0.0:9113"}, address: http, serves: true}
sink-imap: {args: [sink, imap], section: imap, needs: {sink_http: "0.0.0.0:9118"}, address: sink_http}
ingest-feeds: {args: [ingest, feeds], section: feeds, needs: {http: "0.0.0.0:9110"}, address: http}
ingest-imap: {args: [ingest, imap], section: imap, needs: {http: "0.0.0.0:9117"}, address: http}
{{- end -}}

{{/* The configuration with what enabled processes need, as JSON. */}}
{{- define "winnow.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- range $part, $how := include "winnow.known" . | fromYaml -}}
{{- if (get $.Values.processes $part).enabled -}}
{{- $_ := set $config $how.section (merge (get $config $how.section | default dict) $how.needs) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.processes.dashboard.enabled (not $config.dashboard.workers) -}}
{{- $service := include "winnow.name" (dict "root" . "part" "worker") -}}
{{- $_ := set $config.dashboard "workers" (list (printf "%s:%v" $service ($config.metrics.port | default 9108))) -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{/* Processes that are enabled, as JSON: what is known of each, part, ports and values. */}}
{{- define "winnow.processes" -}}
{{- $config := include "winnow.config" . | fromJson -}}
{{- $processes := list -}}
{{- range $part, $how := include "winnow.known" . | fromYaml -}}
{{- $values := get $.Values.processes $part -}}
{{- if $values.enabled -}}
{{- $section := get $config $how.section -}}
{{- $ports := dict "http" (get $section $how.address | splitList ":" | last) -}}
{{- if and (eq $part "filter") $section.listen -}}
{{- $_ := set $ports "milter" ($section.listen | splitList ":" | last) -}}
{{- end -}}
{{- if and $how.serves (not $section.token_file) -}}
{{- fail (printf "processes.%s can be reached from other pods: give config.%s.token_file, as /run/secrets/NAME/token" $part $how.section) -}}
{{- end -}}
{{- $processes = append $processes (merge (dict "part" $part "ports" $ports "values" $values) $how) -}}
{{- end -}}
{{- end -}}
{{- dict "processes" $processes | toJson -}}
{{- end -}}

{{/* Names of the Secrets whose files some sections of the configuration name, as JSON. */}}
{{- define "winnow.secrets" -}}
{{- $names := list -}}
{{- range .sections -}}
{{- range regexFindAll "/run/secrets/[^/\"]+/" (get $.root.Values.config . | toJson) -1 -}}
{{- $names = append $names (. | trimPrefix "/run/secrets/" | trimSuffix "/") -}}
{{- end -}}
{{- end -}}
{{- dict "names" (uniq $names) | toJson -}}
{{- end -}}

{{/* A number of the configuration that has a default. */}}
{{- define "winnow.partitions" -}}
{{- get (.Values.config.topics | default dict) "partitions" | default 4 | int -}}
{{- end -}}

{{- define "winnow.registry" -}}
{{- $uri := get (.Values.config.registry | default dict) "uri" | default "" -}}
{{- if not (hasPrefix "http" $uri) -}}
{{- fail "models:/… and refresh need a registry that pods can share: give config.registry.uri, the http(s):// address of an MLflow server" -}}
{{- end -}}
{{- $uri -}}
{{- end -}}

{{/* What KEDA's Kafka trigger needs of Secrets, as JSON: its parameter -> [Secret, key]. */}}
{{- define "winnow.kafka-secrets" -}}
{{- $found := dict -}}
{{- range $setting, $parameter := dict "sasl_password_file" "password" "ssl_ca_file" "ca" "ssl_certificate_file" "cert" "ssl_key_file" "key" "ssl_key_password_file" "keyPassword" -}}
{{- with get $.Values.config.kafka $setting -}}
{{- if not (regexMatch "^/run/secrets/[^/]+/[^/]+$" .) -}}
{{- fail (printf "config.kafka.%s is %s: with worker.autoscaling KEDA needs it from a Secret, as /run/secrets/NAME/KEY" $setting .) -}}
{{- end -}}
{{- $_ := set $found $parameter (. | trimPrefix "/run/secrets/" | splitList "/") -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}
