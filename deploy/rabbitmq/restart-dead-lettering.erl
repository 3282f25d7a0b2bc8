%% For a RabbitMQ before 3.12.5 that lost a node while messages left the delay queues: rabbitmqctl eval "$(cat THIS)", on
%% each node that is left, once it has elected its leaders. Restarts each dead-letter worker whose messages were refused
%% and prints its queue. What was refused is nowhere else: nothing is sent twice.
%%
%% Of rabbit_fifo_dlx_worker's records, #state{}: 2 is queue_ref, 8 pendings; #pending{}: 6 is rejected.
[begin
     ok = supervisor:terminate_child(rabbit_fifo_dlx_sup, Worker),
     {ok, _} = supervisor:start_child(rabbit_fifo_dlx_sup, [Queue]),
     element(4, Queue)
 end || {_, Worker, _, _} <- supervisor:which_children(rabbit_fifo_dlx_sup),
        is_pid(Worker),
        State <- [sys:get_state(Worker)],
        Queue <- [element(2, State)],
        lists:any(fun(Pending) -> element(6, Pending) =/= [] end, maps:values(element(8, State)))].
