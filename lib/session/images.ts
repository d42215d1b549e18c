/** The images of a batch: checked, and as a program reads them. */
import { AutoprogError, expected } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import { addInput } from '../graph/graph.js'
import type { Tensor } from '../graph/tensor.js'
import { checkResolution } from '../models/layers.js'
import type { Model } from '../models/model.js'
import { normalizeImages } from '../ops/index.js'
import type { ProgramRequest } from './request.js'

/** Images (B, H, W, C): 8-bit ones are normalised on the device, float ones are taken as already normalised. */
export interface ImageBatch {
  readonly data: Uint8Array | Float32Array
  readonly shape: readonly number[]
  /** For 8-bit images: top, left and flip of each (B, 3) within the image padded by `pad`; whole images unless given. */
  readonly crops?: Int32Array
  /** Black pixels around each image before it is cropped; 0 unless given. */
  readonly pad?: number
}

export interface ImageOptions {
  images: ImageBatch
  /** Side of the images that the network sees; 8-bit images of another size are resized. Their own side unless given. */
  resolution?: number
}

export function prepareImages({ images, resolution }: ImageOptions, model: Model) {
  if (typeof images !== 'object' || images === null || !Array.isArray(images.shape))
    throw new AutoprogError('SHAPE', expected('{ data, shape: [batch, height, width, channels] }', 'images', images))
  const { data, shape, pad = 0 } = images
  const [batch, height, width, channels] = shape as [number, number, number, number]
  if (
    shape.length !== 4 ||
    shape.some((extent) => !Number.isInteger(extent) || extent < 1) ||
    channels !== model.channels
  )
    throw new AutoprogError(
      'SHAPE',
      expected(`[batch, height, width, ${model.channels}]`, 'the shape of images', shape),
    )
  const eightBit = data instanceof Uint8Array
  if (!(eightBit || data instanceof Float32Array) || data.length !== batch * height * width * channels)
    throw new AutoprogError(
      'SHAPE',
      expected(
        `a Uint8Array or Float32Array of length ${batch * height * width * channels}`,
        'the data of images',
        data,
      ),
    )
  const side = resolution ?? height
  if (resolution === undefined && height !== width)
    throw new AutoprogError('SHAPE', expected('square images', 'images without a resolution', shape))
  checkResolution(model, side)
  if (!eightBit && (height !== side || width !== side))
    throw new AutoprogError('SHAPE', expected(`float images of ${side} x ${side}`, 'images', shape), {
      hint: 'Only 8-bit images are resized on the device.',
    })
  if (!Number.isInteger(pad) || pad < 0)
    throw new AutoprogError('SHAPE', expected('a non-negative integer', 'pad', pad))
  const crops = images.crops ?? wholeImages(batch, pad)
  if (!(crops instanceof Int32Array) || crops.length !== 3 * batch)
    throw new AutoprogError('SHAPE', expected(`an Int32Array of length ${3 * batch}`, 'crops', crops))
  return {
    batch,
    resolution: side,
    images: { type: eightBit ? 'u8' : 'f32', height, width, pad: eightBit ? pad : 0 } as const,
    values: { images: data, ...(eightBit && { crops }) },
  }
}

function wholeImages(batch: number, pad: number): Int32Array {
  return Int32Array.from({ length: 3 * batch }, (_, index) => (index % 3 === 2 ? 0 : pad))
}

/** (B, resolution, resolution, channels), normalised. */
export function imagesOf(graph: Graph, { images, microBatch, resolution }: ProgramRequest, model: Model): Tensor {
  const { height, width, pad } = images
  const input = addInput(graph, 'images', [microBatch, height, width, model.channels], images.type)
  if (images.type === 'f32') return input
  const crops = addInput(graph, 'crops', [microBatch, 3], 'i32')
  const { mean, deviation } = model
  return normalizeImages(graph, input, crops, { height: resolution, width: resolution, pad, mean, deviation })
}
