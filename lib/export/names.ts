/** The formats that a trained model is exported to. */
export const exportFormats = ['onnx', 'safetensors', 'transformers'] as const
export type ExportFormat = (typeof exportFormats)[number]
