import { AutoprogError } from '../errors.js'
import type { Model } from './model.js'
import type { TensorFile } from './tensor-file.js'

/** The weights of a file as the model wants them. Throws one CHECKPOINT error that lists every mismatch. */
export function matchWeights(
  path: string,
  { tensors }: Pick<TensorFile, 'tensors'>,
  model: Model,
): Map<string, Float32Array> {
  const problems: string[] = []
  const weights = new Map<string, Float32Array>()
  for (const { name, shape } of model.parameters) {
    const stored = tensors.get(name)
    if (stored === undefined) problems.push(`${name} is missing`)
    else if (!(stored.values instanceof Float32Array)) problems.push(`${name} is not F32`)
    else if (stored.shape.join() !== shape.join())
      problems.push(`${name} has shape [${stored.shape.join(', ')}] instead of [${shape.join(', ')}]`)
    else weights.set(name, stored.values)
  }
  const known = new Set(model.parameters.map(({ name }) => name))
  for (const name of tensors.keys()) if (!known.has(name)) problems.push(`${name} is not a parameter of the model`)
  if (problems.length > 0)
    throw new AutoprogError('CHECKPOINT', `${path} does not fit ${model.name}:\n  ${problems.join('\n  ')}`, {
      hint: 'Create the model with the numbers (depth, width, classes, image size) that the file was saved with.',
    })
  return weights
}
