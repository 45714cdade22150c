"""Progress, for whoever looks."""

from threading import Thread

from tasks.azure_ml.studio import base_model_page, endpoint_page, model_page
from tasks.progress import Progress, watched_by

JOB = "https://ml.azure.com/runs/ft-x?wsid=/subscriptions/s/resourcegroups/g/workspaces/w"


def test_a_watcher_is_told_what_moves_how_far_and_why() -> None:
    seen: list[tuple[str, float, str]] = []
    progress = Progress("steps")
    with watched_by(lambda *move: seen.append(move)):
        progress.move(50.0, "half")
    progress.move(100.0, "nobody looks any more")
    assert seen == [("steps", 50.0, "half")]


def test_a_watcher_hears_of_its_own_context_alone() -> None:
    seen: list[tuple[str, float, str]] = []
    with watched_by(lambda *move: seen.append(move)):
        other = Thread(target=Progress("another run's").move, args=(1.0, "elsewhere"))
        other.start()
        other.join()
    assert seen == []


def test_the_studios_pages_are_of_the_jobs_workspace() -> None:
    assert model_page(JOB, "m", "1") == JOB.replace("/runs/ft-x", "/model/m:1/details")
    assert endpoint_page(JOB, "ft-x") == JOB.replace("/runs/ft-x", "/endpoints/realtime/ft-x/detail")
    base = "azureml://registries/azureml/models/Phi-4/versions/7"
    assert base_model_page(JOB, base) == JOB.replace("/runs/ft-x", "/registries/azureml/models/Phi-4/version/7")


def test_without_a_page_of_the_job_there_is_none_of_the_rest() -> None:
    assert model_page("", "m", "1") == ""
    assert base_model_page(JOB, "azureml://locations/x") == ""
