/** What `evaluate` relies on until it is there: loaded when first used. */

export interface Accuracy {
  top1: number
  top5: number
  loss: number
}

export interface Evaluator {
  evaluate(
    run: string,
    options: { data?: string; resolution?: number },
  ): Promise<Accuracy & { emas: (Accuracy & { decay: number })[]; images: number }>
}

const load = async (module: string): Promise<unknown> => import(module)

export const loadEvaluator = async () => (await load('../training/evaluate.js')) as Evaluator
