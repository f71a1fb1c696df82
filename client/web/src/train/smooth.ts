/**
 * The exponential moving average of `values`, corrected for its start as Adam's moments are (Kingma
 * & Ba 2015, section 3). `weight`, in [0, 1), is that of the past. Gaps stay gaps.
 */
export function smooth(values: readonly (number | null)[], weight: number): (number | null)[] {
  let average = 0;
  let total = 0;
  return values.map((value) => {
    if (value === null) return null;
    average = weight * average + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return average / total;
  });
}
