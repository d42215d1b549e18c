import { collectGuesses } from '../../../lib/evaluation/guesses.js'
import { metricsOf } from '../../../lib/evaluation/metrics.js'
import { evaluationPage } from '../../../lib/report/page/evaluation-page.js'
import { test } from '../../serial.js'

function pageOf(classes: number, name = (index: number) => `class ${index}`) {
  const images = 3 * classes
  const found = collectGuesses(images, classes)
  const probabilities = new Float32Array(images * classes)
  // A third of the images is taken for the class that follows.
  for (let i = 0; i < images; i++) probabilities[i * classes + (((i % classes) + (i < classes ? 1 : 0)) % classes)] = 1
  found.add(
    probabilities,
    Int32Array.from({ length: images }, (_, i) => i % classes),
  )
  const names = Array.from({ length: classes }, (_, index) => name(index))
  const shown = { name: 'a.png', picture: 'data:image/jpeg;base64,AA==', truth: names[0]!, guess: names[1]! }
  const image = { ...shown, confidence: 0.9, truthProbability: 0.05 }
  return evaluationPage({
    ...{ run: 'runs/<x>', data: 'pets', model: 'vit', resolution: 64, which: 'weights', notices: ['a & b'] },
    ...{ metrics: metricsOf(found.result(), names), mistakes: [image], unsure: [] },
  })
}

test('a few classes have a matrix with numbers, and every figure stands on the page', (t) => {
  const html = pageOf(3)
  t.regex(html, /top-1<\/span><b>66\.67 %<\/b>/)
  const matrix = /<table class="matrix"[\s\S]*?<\/table>/.exec(html)![0]
  t.is(matrix.match(/<td/g)!.length, 9)
  t.deepEqual(matrix.match(/<td class="own"[^>]*>2</g)!.length, 3)
  t.regex(html, /class 0 5\.00 %<\/div><div class="guess">class 1 90\.00 %/)
  t.regex(html, /<img src="data:image\/jpeg;base64,AA==" alt="class 0"/)
  t.notRegex(html, /<script|https?:\/\//, 'nothing is fetched')
})

test('of a thousand classes the worst are listed and the matrix is drawn', (t) => {
  const html = pageOf(1000)
  t.regex(html, /The 100 of 1,000 classes with the lowest recall/)
  t.is(/<table id="classes"[\s\S]*?<\/table>/.exec(html)![0].match(/<tr>/g)!.length, 101)
  t.regex(html, /<canvas id="confusion" width="1000" height="1000">/)
  t.true(html.length < 500_000)
})

test('names cannot become part of the page', (t) => {
  const evil = (index: number) => `</script><script>alert(${index})</script>"'&`
  for (const classes of [3, 50]) {
    const html = pageOf(classes, evil)
    t.notRegex(html, /<script>alert/)
    t.regex(html, /&lt;\/script&gt;&lt;script&gt;alert\(0\)&lt;\/script&gt;&quot;&#39;&amp;/)
    t.is(html.match(/<\/script>/g)?.length ?? 0, classes > 40 ? 1 : 0)
  }
  t.regex(pageOf(3), /runs\/&lt;x&gt;/)
})
