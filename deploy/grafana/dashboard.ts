// Writes the dashboard as JSON to standard output: deploy/grafana/check --write keeps denoised.json.
//
// Every query is one that the server's metrics answer; tests/e2e/prometheus_test.cc runs each
// against a real Prometheus. docs/observability.md says what the metrics mean.
import * as common from "@grafana/grafana-foundation-sdk/common";
import {
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatPanel } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimePanel } from "@grafana/grafana-foundation-sdk/timeseries";

const SOURCE = { type: "prometheus", uid: "${datasource}" };
const RANGE = "$__rate_interval";
const QUANTILES = [0.5, 0.95, 0.99];
const FULL_WIDTH = 24;

// --- Queries

// The series of the servers that the dashboard shows, and of these `labels`.
function series(metric: string, labels = ""): string {
  return `${metric}{job=~"$job",instance=~"$instance"${labels && ","}${labels}}`;
}

function rate(metric: string, labels = ""): string {
  return `rate(${series(metric, labels)}[${RANGE}])`;
}

// A total, by the labels that are named.
function sum(expression: string, ...by: string[]): string {
  return by.length === 0 ? `sum(${expression})` : `sum by (${by.join(", ")}) (${expression})`;
}

// The mean of what a histogram has seen.
function mean(histogram: string): string {
  return `${sum(rate(`${histogram}_sum`))} / ${sum(rate(`${histogram}_count`))}`;
}

interface Query {
  expression: string;
  legend: string;
}

function query(expression: string, legend = ""): Query {
  return { expression, legend };
}

function quantiles(histogram: string): Query[] {
  const buckets = sum(rate(`${histogram}_bucket`), "le");
  return QUANTILES.map((quantile) =>
    query(`histogram_quantile(${quantile}, ${buckets})`, `p${quantile * 100}`),
  );
}

function target({ expression, legend }: Query, index: number): DataqueryBuilder {
  return new DataqueryBuilder()
    .expr(expression)
    .legendFormat(legend)
    .refId(String.fromCharCode("A".charCodeAt(0) + index))
    .datasource(SOURCE);
}

// --- Panels

interface Look {
  unit?: string;
  description?: string;
  stacked?: boolean;
  max?: number;
  span?: number;
}

function chart(title: string, queries: Query[], look: Look = {}): TimePanel {
  const panel = new TimePanel()
    .title(title)
    .datasource(SOURCE)
    .unit(look.unit ?? "short")
    .min(0)
    .height(8)
    .span(look.span ?? FULL_WIDTH / 3)
    .fillOpacity(look.stacked ? 30 : 8)
    .showPoints(common.VisibilityMode.Never)
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    )
    .targets(queries.map(target));
  if (look.description) panel.description(look.description);
  if (look.max !== undefined) panel.max(look.max);
  if (look.stacked) {
    panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal));
  }
  return panel;
}

// A number of now. Red from `red` on, if that is given.
function stat(title: string, expression: string, look: Look & { red?: number } = {}): StatPanel {
  const panel = new StatPanel()
    .title(title)
    .datasource(SOURCE)
    .unit(look.unit ?? "short")
    .height(4)
    .span(look.span ?? 3)
    .graphMode(common.BigValueGraphMode.Area)
    .thresholds(
      new ThresholdsConfigBuilder()
        .mode(ThresholdsMode.Absolute)
        .steps([
          { value: null, color: look.red === undefined ? "blue" : "green" },
          ...(look.red === undefined ? [] : [{ value: look.red, color: "red" }]),
        ]),
    )
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .targets([target(query(expression), 0)]);
  if (look.description) panel.description(look.description);
  return panel;
}

// --- The dashboard

const misses = series("denoised_deadline_misses_total", 'cause!~"late|reading"');
const deadlines = series("denoised_requests_with_deadline_total");

const overview = [
  stat("Servers", `count(${series("denoised_build_info")})`),
  stat("Alerts", 'count(ALERTS{alertname=~"Denoised.*",alertstate="firing"}) or vector(0)', {
    red: 1,
    description: "Those of deploy/prometheus/rules.yml that fire.",
  }),
  stat("Images", sum(rate("denoised_images_total")), { unit: "ops" }),
  stat("Waiting", sum(series("denoised_queue_depth")), {
    description: "Requests that have not started.",
  }),
  stat("Deadlines missed", `sum(increase(${misses}[1h])) / (sum(increase(${deadlines}[1h])) > 0)`, {
    unit: "percentunit",
    red: 0.01,
    description: "Of the requests of the last hour that had one, unless the caller was late.",
  }),
  stat(
    "Devices busy",
    `avg(${sum(rate("denoised_turn_seconds_total", 'turn!="idle"'), "instance", "device")})`,
    { unit: "percentunit" },
  ),
  stat("Models broken", `max(${series("denoised_models_broken")})`, { red: 1 }),
  stat(
    "Failed",
    `${sum(rate("denoised_requests_total", 'outcome="INTERNAL"'))} / ${sum(rate("denoised_requests_total"))}`,
    { unit: "percentunit", red: 0.01, description: "Requests that ended with INTERNAL." },
  ),
];

const requests = [
  chart("Requests", [query(sum(rate("denoised_requests_total"), "outcome"), "{{outcome}}")], {
    unit: "reqps",
    stacked: true,
    description: "Generate calls that ended, by status code.",
  }),
  chart("Request time", quantiles("denoised_request_seconds"), {
    unit: "s",
    description:
      'A slow one is in the log with its trace_id: look for "request finished" with many seconds.',
  }),
  chart("Time to first frame", quantiles("denoised_time_to_first_frame_seconds"), { unit: "s" }),
  chart("Queue wait", quantiles("denoised_queue_wait_seconds"), { unit: "s" }),
  chart(
    "Deadlines missed, by where they passed",
    [query(sum(rate("denoised_deadline_misses_total"), "cause"), "{{cause}}")],
    { unit: "reqps", stacked: true },
  ),
  chart("Calls, by method", [query(sum(rate("denoised_rpcs_total"), "method"), "{{method}}")], {
    unit: "reqps",
    description: "Over gRPC and HTTP.",
  }),
];

const devices = [
  chart(
    "Queue",
    [
      query(sum(series("denoised_queue_depth"), "instance"), "{{instance}} waiting"),
      query(sum(series("denoised_queue_capacity"), "instance"), "{{instance}} at most"),
    ],
    { description: "Requests that have not started, and --queue-size." },
  ),
  chart("Backlog", [query(series("instance:denoised_backlog:seconds"), "{{instance}}")], {
    unit: "s",
    description: "How long the devices need for all that is accepted.",
  }),
  chart(
    "Devices' time",
    [query(sum(rate("denoised_turn_seconds_total", 'turn!="idle"'), "turn"), "{{turn}}")],
    { unit: "percentunit", stacked: true, description: "By kind of turn; 100 % is one device." },
  ),
  chart("Rows in the loops", [
    query(sum(series("denoised_active_rows"), "instance", "device"), "{{instance}} {{device}}"),
  ]),
  chart("Network calls", [query(sum(rate("denoised_evaluations_total"), "device"), "{{device}}")], {
    unit: "ops",
  }),
  chart("Network call time", quantiles("denoised_evaluation_seconds"), { unit: "s" }),
  chart(
    "Sharing",
    [
      query(mean("denoised_rows_per_evaluation"), "rows per call"),
      query(mean("denoised_trajectories_per_evaluation"), "images per call"),
    ],
    { description: "What shares a network call on average." },
  ),
  chart(
    "Rows saved and padded",
    [
      query(
        `${sum(rate("denoised_guidance_rows_saved_total"))} / (${sum(rate("denoised_guidance_rows_saved_total"))} + ${sum(rate("denoised_rows_per_evaluation_sum"))})`,
        "saved by guidance intervals",
      ),
      query(
        `${sum(rate("denoised_padded_rows_total"))} / (${sum(rate("denoised_padded_rows_total"))} + ${sum(rate("denoised_rows_per_evaluation_sum"))})`,
        "padding of graphs",
      ),
    ],
    { unit: "percentunit" },
  ),
  chart(
    "Overhead",
    [
      query(
        `${sum(rate("denoised_worker_overhead_seconds_total"))} / (${sum(rate("denoised_worker_overhead_seconds_total"))} + ${sum(rate("denoised_evaluation_seconds_sum"))})`,
        "overhead",
      ),
    ],
    { unit: "percentunit", description: "Part of the loop's time that is outside network calls." },
  ),
  chart(
    "Evaluations for nothing",
    [
      query(sum(rate("denoised_evaluations_wasted_total"), "outcome"), "wasted, {{outcome}}"),
      query(sum(rate("denoised_evaluations_cancelled_total"), "outcome"), "cancelled, {{outcome}}"),
    ],
    {
      unit: "ops",
      description:
        "Of single images whose generation ended before they were done: made for nothing, and not made any more.",
    },
  ),
  chart(
    "Batches, tasks and devices that failed",
    [
      query(sum(rate("denoised_failed_batches_total"), "device"), "batches, {{device}}"),
      query(sum(rate("denoised_failed_tasks_total"), "device"), "tasks, {{device}}"),
      query(series("denoised_device_failed"), "{{instance}} {{device}} has failed for good"),
      query(series("denoised_device_hanging"), "{{instance}} {{device}} hangs"),
    ],
    {
      description:
        "Batches and tasks a second; 1 for a device that has failed for good, and for one that hangs.",
    },
  ),
  chart(
    "Device memory",
    [
      query(
        `${series("denoised_device_memory_size_bytes")} - ${series("denoised_device_memory_free_bytes")}`,
        "{{instance}} {{device}} in use",
      ),
      query(series("denoised_device_memory_size_bytes"), "{{instance}} {{device}} in all"),
    ],
    { unit: "bytes" },
  ),
];

const stages = [
  chart("Encode time", quantiles("denoised_encode_seconds"), {
    unit: "s",
    description: "Of a turn that encodes prompts or pictures.",
  }),
  chart("Decode time", quantiles("denoised_decode_seconds"), { unit: "s" }),
  chart("Wait for decoding", quantiles("denoised_decode_wait_seconds"), { unit: "s" }),
  chart("Images to decode", [query(sum(series("denoised_decode_queue"), "device"), "{{device}}")]),
  chart(
    "Frames",
    [
      query(sum(rate("denoised_frames_sent_total")), "sent"),
      query(sum(rate("denoised_frames_dropped_total")), "dropped"),
    ],
    { unit: "ops", description: "Dropped: the reader was slow, or the frame too large." },
  ),
  chart(
    "Generations and diffusions",
    [
      query(sum(rate("denoised_generations_total"), "outcome"), "generations, {{outcome}}"),
      query(sum(rate("denoised_diffusions_total"), "outcome"), "diffusions, {{outcome}}"),
    ],
    { unit: "ops" },
  ),
];

const models = [
  chart("Models", [
    query(series("denoised_models_loaded"), "{{instance}} loaded"),
    query(series("denoised_models_broken"), "{{instance}} broken"),
  ]),
  chart(
    "Loads and unloads",
    [
      query(sum(rate("denoised_model_loads_total"), "outcome"), "models {{outcome}}"),
      query(sum(rate("denoised_model_unloads_total")), "models unloaded"),
      query(sum(rate("denoised_adapter_loads_total"), "outcome"), "adapters {{outcome}}"),
    ],
    { unit: "ops" },
  ),
  chart(
    "Load time",
    [
      query(
        `${sum(series("denoised_model_load_seconds_sum"))} / ${sum(series("denoised_model_load_seconds_count"))}`,
        "mean since the start",
      ),
    ],
    { unit: "s" },
  ),
  chart(
    "Memory of models",
    [
      query(series("denoised_model_memory_bytes"), "{{instance}} models"),
      query(series("denoised_adapter_memory_bytes"), "{{instance}} adapters"),
    ],
    { unit: "bytes" },
  ),
];

const training = [
  chart("Loss", [query(series("denoised_training_loss"), "{{instance}} {{training_job}}")], {
    description: "Of the latest step of each job that runs.",
  }),
  chart("Pictures trained on", [query(sum(rate("denoised_training_pictures_total")))], {
    unit: "ops",
  }),
  chart("Steps", [
    query(sum(rate("denoised_training_steps_total")), "steps"),
    query(
      `${sum(rate("denoised_training_step_seconds_total"))} / ${sum(rate("denoised_training_steps_total"))}`,
      "seconds of a device per step",
    ),
  ]),
  chart("Jobs", [
    query(series("denoised_running_jobs"), "{{instance}} running"),
    query(
      `sum by (state) (increase(${series("denoised_job_states_total")}[1h]))`,
      "{{state}} in the last hour",
    ),
  ]),
  chart("Ranks", [query(series("denoised_training_ranks"), "{{instance}} {{training_job}}")], {
    description: "That train a job together on several machines; 0 while the job waits for them.",
  }),
  chart(
    "Device time of training",
    [query(sum(rate("denoised_training_seconds_total"), "device"), "{{device}}")],
    { unit: "percentunit" },
  ),
  chart(
    "Disk of --state",
    [
      query(series("denoised_state_free_bytes"), "{{instance}} free"),
      query(series("denoised_state_size_bytes"), "{{instance}} in all"),
    ],
    { unit: "bytes" },
  ),
];

const connections = [
  chart("Connections", [
    query(series("denoised_connections"), "{{instance}} gRPC"),
    query(series("denoised_http_connections"), "{{instance}} HTTP"),
  ]),
  chart(
    "Connections refused",
    [query(sum(rate("denoised_connections_refused_total"), "reason"), "{{reason}}")],
    { unit: "ops" },
  ),
  chart(
    "HTTP requests",
    [query(sum(rate("denoised_http_requests_total"), "route", "status"), "{{route}} {{status}}")],
    { unit: "reqps" },
  ),
  chart(
    "Certificate",
    [
      query(
        `${series("denoised_tls_certificate_expiry_timestamp_seconds")} - time()`,
        "{{instance}} expires in",
      ),
    ],
    { unit: "s" },
  ),
  chart(
    "Lines of the access log that were lost",
    [query(sum(rate("denoised_access_log_lines_dropped_total")))],
    { unit: "ops" },
  ),
];

function labelValues(label: string): string {
  const of = label === "job" ? "denoised_build_info" : 'denoised_build_info{job=~"$job"}';
  return `label_values(${of}, ${label})`;
}

function labelVariable(name: string, label: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(SOURCE)
    .query({ query: labelValues(name), refId: name })
    .includeAll(true)
    .allValue(".*")
    .multi(true)
    .current({ text: ["All"], value: ["$__all"] })
    .refresh(VariableRefresh.OnTimeRangeChanged);
}

const dashboard = new DashboardBuilder("denoised")
  .uid("denoised")
  .description("denoised: requests, devices, models and training. Generated by deploy/grafana.")
  .tags(["denoised"])
  .editable()
  .tooltip(DashboardCursorSync.Crosshair)
  .refresh("10s")
  .time({ from: "now-1h", to: "now" })
  .withVariable(new DatasourceVariableBuilder("datasource").label("Data source").type("prometheus"))
  .withVariable(labelVariable("job", "Job"))
  .withVariable(labelVariable("instance", "Server"));

for (const panel of overview) dashboard.withPanel(panel);
for (const [title, panels] of Object.entries({
  Requests: requests,
  "Queue and devices": devices,
  "Encoding, decoding and frames": stages,
  Models: models,
  Training: training,
  Connections: connections,
})) {
  dashboard.withRow(new RowBuilder(title));
  for (const panel of panels) dashboard.withPanel(panel);
}

process.stdout.write(`${JSON.stringify(dashboard.build(), null, 2)}\n`);
