// The names by which callers know resources: "emoji-32" for "models/emoji-32". Every function here
// also takes the full name and returns it unchanged, as the `denoise` command does.

function withPrefix(prefix: string, name: string): string {
  return name.startsWith(prefix) ? name : prefix + name;
}

export const modelName = (name: string) => withPrefix("models/", name);
export const generationName = (name: string) => withPrefix("generations/", name);
export const datasetName = (name: string) => withPrefix("datasets/", name);
export const jobName = (name: string) => withPrefix("trainingJobs/", name);

/**
 * "adapters/pixel-art" for "pixel-art", and "models/sd15/adapters/line-art", the one beside the
 * model, for "sd15/line-art".
 */
export function adapterName(name: string): string {
  const slash = name.indexOf("/");
  if (slash < 0 || name.startsWith("adapters/")) return withPrefix("adapters/", name);
  if (name.startsWith("models/")) return name;
  return `${modelName(name.slice(0, slash))}/${withPrefix("adapters/", name.slice(slash + 1))}`;
}
