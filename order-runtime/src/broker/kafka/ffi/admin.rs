//! Admin requests: the id of the cluster, its topics, and the members of a consumer group.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{CStr, CString, c_char},
    ptr, slice,
    time::Duration,
};

use rdkafka::{
    bindings as sys,
    client::{Client, ClientContext},
    error::RDKafkaErrorCode,
};
use uuid::Uuid;

use super::NO_ERROR;

/// The answer about one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker::kafka) enum Described {
    /// It exists. The id is nil if the broker is too old to have topic ids.
    Exists { id: Uuid, partitions: usize },
    /// The cluster has no topic of this name, and the client is authorized to know that.
    Absent,
    /// The cluster answers with an error, such as a missing permission.
    Failed(String),
}

/// A member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker::kafka) struct GroupMember {
    pub(in crate::broker::kafka) client_id: String,
    pub(in crate::broker::kafka) host: String,
    /// The topics that it is assigned partitions of.
    pub(in crate::broker::kafka) topics: BTreeSet<String>,
}

/// The id of the cluster, from a fresh answer; `None` if the broker is too old to have one.
pub(in crate::broker::kafka) fn cluster_id<C: ClientContext>(
    client: &Client<C>,
    timeout: Duration,
) -> Result<Option<String>, String> {
    let answer = Answer::of(client, timeout, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, |request| {
        // SAFETY: client, options and queue are alive; the callee copies the options.
        unsafe { sys::rd_kafka_DescribeCluster(request.client, request.options, request.queue) }
    })?;
    // SAFETY: the event is alive as long as `answer`, and owns the result and its text, which is copied here.
    unsafe {
        let result = sys::rd_kafka_event_DescribeCluster_result(answer.event);
        if result.is_null() {
            return Err(UNEXPECTED.to_owned());
        }
        Ok(text(sys::rd_kafka_DescribeCluster_result_cluster_id(result)))
    }
}

/// The state of topics. A topic that the answer does not mention is not in the map.
pub(in crate::broker::kafka) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    topics: &BTreeSet<&str>,
    timeout: Duration,
) -> Result<HashMap<String, Described>, String> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let answer = Answer::of(client, timeout, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, |request| {
        // SAFETY: the names outlive the collection, which copies them; it is destroyed after the callee has copied it.
        unsafe {
            let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_DescribeTopics(request.client, collection, request.options, request.queue);
            sys::rd_kafka_TopicCollection_destroy(collection);
        }
    })?;
    let mut described = HashMap::new();
    // SAFETY: the event is alive as long as `answer`, and owns everything that is read; all of it is copied.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(answer.event);
        if result.is_null() {
            return Err(UNEXPECTED.to_owned());
        }
        let mut count = 0;
        let found = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for &topic in elements(found.cast_const(), count) {
            let name = text(sys::rd_kafka_TopicDescription_name(topic)).unwrap_or_default();
            described.insert(name, topic_state(topic));
        }
    }
    Ok(described)
}

/// # Safety
/// The description is alive.
unsafe fn topic_state(topic: *const sys::rd_kafka_TopicDescription_t) -> Described {
    // SAFETY: the caller's promise; error and id belong to the description.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        match sys::rd_kafka_error_code(error) {
            NO_ERROR => {}
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => return Described::Absent,
            code => return Described::Failed(RDKafkaErrorCode::from(code).to_string()),
        }
        let mut partitions = 0;
        sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return Described::Exists { id: Uuid::nil(), partitions };
        }
        let id = Uuid::from_u64_pair(
            sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned(),
            sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned(),
        );
        Described::Exists { id, partitions }
    }
}

/// The members of a consumer group; empty if there is no such group.
pub(in crate::broker::kafka) fn group_members<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<Vec<GroupMember>, String> {
    let name = CString::new(group).map_err(|error| error.to_string())?;
    let mut names = [name.as_ptr()];
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let answer = Answer::of(client, timeout, operation, |request| {
        // SAFETY: the one name is alive, and copied by the callee.
        unsafe {
            sys::rd_kafka_DescribeConsumerGroups(
                request.client,
                names.as_mut_ptr(),
                names.len(),
                request.options,
                request.queue,
            );
        }
    })?;
    let mut members = Vec::new();
    // SAFETY: the event is alive as long as `answer`, and owns everything that is read; all of it is copied.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(answer.event);
        if result.is_null() {
            return Err(UNEXPECTED.to_owned());
        }
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        for &group in elements(groups.cast_const(), count) {
            let error = sys::rd_kafka_ConsumerGroupDescription_error(group);
            match sys::rd_kafka_error_code(error) {
                NO_ERROR => {}
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND => continue,
                code => return Err(RDKafkaErrorCode::from(code).to_string()),
            }
            for index in 0..sys::rd_kafka_ConsumerGroupDescription_member_count(group) {
                members.push(member(sys::rd_kafka_ConsumerGroupDescription_member(group, index)));
            }
        }
    }
    Ok(members)
}

/// # Safety
/// The description is alive.
unsafe fn member(member: *const sys::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: the caller's promise; the assignment and its list belong to the description, and each element has a topic's name.
    unsafe {
        let assignment = sys::rd_kafka_MemberDescription_assignment(member);
        let list = sys::rd_kafka_MemberAssignment_partitions(assignment);
        let mut topics = BTreeSet::new();
        if let Some(list) = list.as_ref() {
            for element in elements(list.elems.cast_const(), usize::try_from(list.cnt).unwrap_or_default()) {
                topics.extend(text(element.topic));
            }
        }
        GroupMember {
            client_id: text(sys::rd_kafka_MemberDescription_client_id(member)).unwrap_or_default(),
            host: text(sys::rd_kafka_MemberDescription_host(member)).unwrap_or_default(),
            topics,
        }
    }
}

/// The error of an event that does not match the request.
const UNEXPECTED: &str = "the answer is of another kind than the request";

/// The arguments of a request.
struct Request {
    client: *mut sys::rd_kafka_t,
    options: *const sys::rd_kafka_AdminOptions_t,
    queue: *mut sys::rd_kafka_queue_t,
}

/// The answer to an admin request.
struct Answer {
    event: *mut sys::rd_kafka_event_t,
}

impl Answer {
    /// Sends a request and waits for its answer.
    fn of<C: ClientContext>(
        client: &Client<C>,
        timeout: Duration,
        operation: sys::rd_kafka_admin_op_t,
        send: impl FnOnce(&Request),
    ) -> Result<Self, String> {
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client is alive; options and queue are made and destroyed here, after the answer has come or is given up.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client.native_ptr(), operation);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout, ptr::null_mut(), 0);
            let queue = sys::rd_kafka_queue_new(client.native_ptr());
            send(&Request { client: client.native_ptr(), options, queue });
            let event = sys::rd_kafka_queue_poll(queue, timeout.saturating_add(1_000));
            sys::rd_kafka_queue_destroy(queue);
            sys::rd_kafka_AdminOptions_destroy(options);
            if event.is_null() {
                return Err("no answer in time".to_owned());
            }
            let answer = Self { event };
            match sys::rd_kafka_event_error(event) {
                NO_ERROR => Ok(answer),
                code => Err(RDKafkaErrorCode::from(code).to_string()),
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is not used after this.
        unsafe { sys::rd_kafka_event_destroy(self.event) }
    }
}

/// The elements of a C array.
///
/// # Safety
/// The pointer is null or has `count` elements that live for `'a`.
unsafe fn elements<'a, T: Copy>(first: *const T, count: usize) -> &'a [T] {
    // SAFETY: the caller's promise.
    if first.is_null() { &[] } else { unsafe { slice::from_raw_parts(first, count) } }
}

/// A copy of a C string; `None` for null.
///
/// # Safety
/// The pointer is null or a C string.
unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
