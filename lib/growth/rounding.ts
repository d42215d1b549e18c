/** `value` to the nearest multiple of `multiple`, at least one of them, but never below 0.9 of the value. */
export function roundToMultiple(value: number, multiple: number): number {
  const rounded = Math.max(multiple, Math.floor((value + multiple / 2) / multiple) * multiple)
  return rounded < 0.9 * value ? rounded + multiple : rounded
}
