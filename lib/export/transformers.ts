/** The folder that Hugging Face's pipelines and transformers.js read: config.json, preprocessor_config.json, onnx/model.onnx. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolder } from '../folder.js'
import type { TrainedFile } from '../inference/trained-file.js'
import { checkExported } from './onnx/check.js'
import { exportOnnx } from './onnx/export-onnx.js'

/** Of Pillow's filters, which `resample` names. */
const resample = { bilinear: 2, bicubic: 3 } as const

/** Names of architectures that tell those readers to classify images. Only the graph computes, so that the kind is a label. */
const architectures = {
  vit: 'ViTForImageClassification',
  volo: 'ViTForImageClassification',
  resnet: 'ResNetForImageClassification',
} as const

export function writeTransformers(folder: string, { model, weights, description }: TrainedFile): void {
  const { classes, classCount, resolution, crop, interpolation, mean, deviation, channels } = description
  const labels = classes ?? Array.from({ length: classCount }, (_, index) => `LABEL_${index}`)
  const kind = model.kinds === 'stages' ? 'resnet' : model.kinds === 'outlookers' ? 'volo' : 'vit'
  const config = {
    model_type: kind === 'volo' ? 'vit' : kind,
    architectures: [architectures[kind]],
    id2label: Object.fromEntries(labels.map((label, index) => [index, label])),
    label2id: Object.fromEntries(labels.map((label, index) => [label, index])),
    num_labels: classCount,
    num_channels: channels,
    image_size: resolution,
  }
  // As timm scales: the shorter side to the resolution over the crop, then the central square.
  const shortest = Math.floor(resolution / crop)
  const preprocessor = {
    image_processor_type: 'ViTImageProcessor',
    ...{ do_resize: true, size: { shortest_edge: shortest }, resample: resample[interpolation] },
    ...{ do_center_crop: true, crop_size: { height: resolution, width: resolution } },
    ...{ do_rescale: true, rescale_factor: 1 / 255, do_normalize: true, image_mean: mean, image_std: deviation },
    ...(channels === 1 ? { do_convert_grayscale: true } : { do_convert_rgb: true }),
  }
  const bytes = exportOnnx(model, weights, description, { preprocessing: false, softmax: false })
  checkExported(bytes)
  makeFolder(join(folder, 'onnx'))
  writeFileSync(join(folder, 'onnx', 'model.onnx'), bytes)
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
  writeFileSync(join(folder, 'preprocessor_config.json'), `${JSON.stringify(preprocessor, null, 2)}\n`)
}
