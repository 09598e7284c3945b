def test_x(visit, world):
    page = visit().open("/kling/gallery")
    page.wait_for_timeout(3000)
    page.screenshot(path="/tmp/g/real.png")
    f = visit().open(f"/dags/lookbook/runs/{world.runs['lookbook']}/plugin/kling-run")
    f.wait_for_timeout(3000)
    f.screenshot(path="/tmp/g/realrun.png")
    f = visit(color_scheme="dark").open(
        f"/dags/lookbook/runs/{world.runs['lookbook']}/tasks/look.wait/mapped/2/plugin/kling-task"
    )
    f.wait_for_timeout(3000)
    f.screenshot(path="/tmp/g/realtask.png")
