"""
Have pictures made by a ComfySheet render farm.

    from comfysheet import ComfySheet

    with ComfySheet() as sheet:  # COMFYSHEET_URL and COMFYSHEET_KEY
        sheet.run("txt2img-sdxl", prompt="a fox in the snow").outputs[0].save("fox.png")
"""

from comfysheet._facts import Done
from comfysheet._inputs import read_csv
from comfysheet.async_client import AsyncComfySheet
from comfysheet.async_jobs import AsyncJob, AsyncOutput, AsyncResult
from comfysheet.client import ComfySheet
from comfysheet.errors import (
    ComfySheetError,
    DownloadFailed,
    Forbidden,
    JobCanceled,
    JobFailed,
    NotConfigured,
    NotFound,
    RateLimited,
    Refused,
    Rejected,
    ServerError,
    Timeout,
    Unauthorized,
    Unreachable,
)
from comfysheet.jobs import Job, Output, Result
from comfysheet.values import Asset, JobError, JobInfo, Metrics, OutputInfo, Progress, WorkflowInfo

__all__ = [
    "Asset",
    "AsyncComfySheet",
    "AsyncJob",
    "AsyncOutput",
    "AsyncResult",
    "ComfySheet",
    "ComfySheetError",
    "Done",
    "DownloadFailed",
    "Forbidden",
    "Job",
    "JobCanceled",
    "JobError",
    "JobFailed",
    "JobInfo",
    "Metrics",
    "NotConfigured",
    "NotFound",
    "Output",
    "OutputInfo",
    "Progress",
    "RateLimited",
    "Refused",
    "Rejected",
    "Result",
    "ServerError",
    "Timeout",
    "Unauthorized",
    "Unreachable",
    "WorkflowInfo",
    "read_csv",
]
