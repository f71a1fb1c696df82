// Links from what the devices do to where it is shown.
import { useMemo } from "preact/hooks";
import { recent } from "../gallery/recent.ts";
import { addressOf } from "../generation/current.ts";
import { shortName } from "../models/catalog.ts";
import { formatAddress } from "../request/address.ts";

/** Leads to Create, which watches the generation. */
export function GenerationLink({ name }: { name: string }) {
  const known = recent.value?.find((generation) => generation.name === name);
  const isKnown = known !== undefined;
  const href = useMemo(() => formatAddress(addressOf(known ?? { name })), [name, isKnown]);
  return <a href={href}>{shortName(name)}</a>;
}

/** Leads to a training job, "trainingJobs/17". */
export function TrainingJobLink({ name }: { name: string }) {
  const href = formatAddress({
    view: "train",
    item: shortName(name),
    settings: {},
    generation: "",
  });
  return <a href={href}>job {shortName(name)}</a>;
}
