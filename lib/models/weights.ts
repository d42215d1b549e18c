import { AutoprogError, someOf } from '../errors.js'
import type { Model } from './model.js'
import type { TensorFile } from './tensor-file.js'

type Tensors = TensorFile['tensors']

/**
 * The weights of a file as the model wants them: a file of weights alone, or a run's checkpoint, from which the copy is taken
 * that `arena` names (`weights`, `ema0`, …). Throws one CHECKPOINT error that names the first mismatches and counts the rest.
 */
export function matchWeights(
  path: string,
  file: Pick<TensorFile, 'tensors'>,
  model: Model,
  arena = 'weights',
): Map<string, Float32Array> {
  const tensors = copyIn(path, file.tensors, arena)
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
    throw new AutoprogError('CHECKPOINT', `${path} does not fit ${model.name}:\n  ${someOf(problems, '\n  ', 8)}`, {
      hint: 'Create the model with the numbers (depth, width, classes, image size) that the file was saved with.',
    })
  return weights
}

/** The names that a checkpoint has for one copy of the weights begin with the name of its arena. */
function copyIn(path: string, tensors: Tensors, arena: string): Tensors {
  const copies = new Set([...tensors.keys()].map((name) => /^(weights|ema\d+)\//.exec(name)?.[1]))
  copies.delete(undefined)
  if (!copies.has('weights') && arena === 'weights') return tensors
  if (copies.has(arena))
    return new Map(
      [...tensors].flatMap(([name, tensor]) =>
        name.startsWith(`${arena}/`) ? [[name.slice(arena.length + 1), tensor] as const] : [],
      ),
    )
  const held = copies.has('weights') ? `${someOf([...copies] as string[])} alone` : 'one copy of the weights alone'
  throw new AutoprogError('CHECKPOINT', `${path} holds no average ${arena}: it holds ${held}`, {
    hint: 'Leave the name of the average out, or name one that the run kept.',
  })
}
