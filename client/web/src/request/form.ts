// A form of settings: what its fields hold, what is wrong with them, and which of that no field
// shows.
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { Violation } from "../rpc/problem.ts";
import type { Settings } from "./fields.ts";

interface FormSource {
  settings: ReadonlySignal<Settings>;
  /** Stores the settings after a change. */
  store: (settings: Settings) => void;
  /** What is wrong with the settings as far as it is known before they are sent. */
  check: () => readonly Violation[];
}

export class Form {
  readonly settings: ReadonlySignal<Settings>;
  /** Everything that is known to be wrong, each field once. */
  readonly violations: ReadonlySignal<readonly Violation[]>;
  /** Those that no field on the page shows. */
  readonly otherViolations: ReadonlySignal<readonly Violation[]>;
  /** How often a request was refused because of its fields. */
  readonly refusals = signal(0);
  readonly #store: FormSource["store"];
  // What was wrong with the request that was sent last, and has not been corrected since.
  readonly #refused = signal<readonly Violation[]>([]);
  readonly #shownPaths = signal<readonly string[]>([]);

  constructor({ settings, store, check }: FormSource) {
    this.settings = settings;
    this.#store = store;
    this.violations = computed(() => {
      const all = [...check(), ...this.#refused.value];
      return [...new Map(all.map((violation) => [violation.field, violation])).values()];
    });
    this.otherViolations = computed(() =>
      this.violations.value.filter(
        ({ field }) => !this.#shownPaths.value.some((path) => covers(path, field)),
      ),
    );
  }

  /** What is wrong with a field, or with one inside it. */
  violationsOf(path: string): Violation[] {
    return this.violations.value.filter(({ field }) => covers(path, field));
  }

  /** Sets one field. An empty text takes it out. */
  setField(path: string, text: string): void {
    this.setFields({ [path]: text });
  }

  setFields(change: Settings): void {
    const entries = Object.entries({ ...this.settings.peek(), ...change });
    this.#refused.value = this.#refused.peek().filter(({ field }) => !(field in change));
    this.#store(Object.fromEntries(entries.filter(([, text]) => text !== "")));
  }

  /** Shows what is wrong with the request that was to be sent. */
  refuse(violations: readonly Violation[]): void {
    this.#refused.value = violations;
    if (violations.length > 0) this.refusals.value++;
  }

  /** Notes that a field on the page shows the violations of `path`. Returns what ends that. */
  showPath(path: string): () => void {
    this.#shownPaths.value = [...this.#shownPaths.peek(), path];
    return () => {
      const left = [...this.#shownPaths.peek()];
      left.splice(left.indexOf(path), 1);
      this.#shownPaths.value = left;
    };
  }
}

const covers = (path: string, field: string) =>
  field === path || field.startsWith(`${path}.`) || field.startsWith(`${path}[`);
