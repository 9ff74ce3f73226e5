"""FastAPI over ONNX Runtime, a request at a time: rows of float32 at /raw, a list of numbers at /json."""
import numpy as np
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from session import open_session

run = open_session()
app = FastAPI()


class Row(BaseModel):
    data: list[float]


@app.post("/raw")
async def raw(request: Request):
    x = np.frombuffer(await request.body(), np.float32).reshape(-1, 784)
    return Response(run(x).tobytes(), media_type="application/octet-stream")


@app.post("/json")
async def numbers(row: Row):
    return {"data": run(np.asarray(row.data, np.float32).reshape(1, 784))[0].tolist()}
