// A service that classifies pictures: node serve.mjs runs/own-images-autoprog-0
//
//   curl --data-binary @holiday.jpg http://localhost:8080/classify
//
// Requests that come together are computed together; nothing else has to be done for that.
import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { openModel } from 'autoprog'

const [path = 'runs/own-images-autoprog-0'] = process.argv.slice(2)
const mostBytes = 20 * 2 ** 20
const model = await openModel(path)

const server = createServer(async (request, response) => {
  const answer = (status, value) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(value)}\n`)
  }
  if (request.url === '/health') return answer(200, { model: model.description.name, classes: model.classes })
  if (request.url !== '/classify' || request.method !== 'POST')
    return answer(404, { error: 'POST a picture to /classify' })
  if (Number(request.headers['content-length'] ?? 0) > mostBytes)
    return answer(413, { error: 'the picture is too large' })
  try {
    answer(200, await model.classify(await buffer(request)))
  } catch (error) {
    // What is no picture is the client's mistake; anything else is ours.
    answer(error.code === 'IMAGE' ? 422 : 500, { error: error.message })
  }
})

server.listen(Number(process.env.PORT ?? 8080), () => console.log(`listening on ${server.address().port}`))
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    server.close(() => model.close())
    server.closeIdleConnections()
  })
