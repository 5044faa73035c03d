"""
Run one execution of a script in a process of its own; started by apps_script_engine, never imported.

Only so can a script that loops without calling anything be ended: quickjs refuses to call Python while it has a time
limit (quickjs-ng 0.17: "Can not call into Python with a time limit set"). The process also has the spreadsheet's time
zone (TZ), which Date obeys, and its own memory.

argv: the folder that holds _quickjs. Lines on stdin and stdout, UTF-8:
    in   the start, JSON: {memory_bytes, cpu_s, shim, files: [[first_line, text]], function, args, html}
    out  "C" + JSON: a call to the host; its answer comes back as one line
    out  "D" + JSON: {result} or {error, stack}, and the end
"""

import json
import resource
import sys


def main() -> None:
    """Read the start, run, tell the end."""
    sys.path.append(sys.argv[1])
    import _quickjs  # without site-packages the start takes 15 ms, not 60

    start = json.loads(sys.stdin.buffer.readline())
    # Should the parent die, reading stdin ends this process; a busy loop is ended by the kernel.
    resource.setrlimit(resource.RLIMIT_CPU, (start["cpu_s"], start["cpu_s"] + 1))

    def host(text: str) -> str:
        sys.stdout.buffer.write(b"C" + text.encode() + b"\n")
        sys.stdout.buffer.flush()
        answer = sys.stdin.buffer.readline()
        if not answer:
            sys.exit(1)
        return answer.decode()

    context = _quickjs.Context()
    context.set_memory_limit(start["memory_bytes"])
    context.add_callable("__host", host)
    try:
        context.eval(start["shim"])
        for first_line, text in start["files"]:
            context.eval("\n" * (first_line - 1) + text)
        end = context.get("__run")(start["function"], json.dumps(start["args"]), start["html"])
        while context.execute_pending_job():
            pass
    except _quickjs.JSException as error:
        # "null" is all that an exhausted memory can say
        said = str(error)
        end = json.dumps({"error": "Out of memory" if said.startswith("null") else said.split("\n")[0], "stack": said})
    sys.stdout.buffer.write(b"D" + end.encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
