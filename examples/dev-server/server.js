// A program as an agent might write it: a server that reads its page again for each request. It runs in the VM.
const { createServer } = require("node:http");
const { readFileSync } = require("node:fs");

createServer((request, response) => {
  console.log(request.method, request.url);
  response.setHeader("content-type", "text/html");
  response.end(readFileSync("/home/user/page.html"));
}).listen(Number(process.env.PORT), () => console.log("listening on", process.env.PORT));
